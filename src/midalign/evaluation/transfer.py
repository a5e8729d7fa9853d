"""The table at the end of a run: scores per language, beside those of the run without alignment."""

from rich.markup import escape
from rich.table import Table

from midalign.data.capability import Capability
from midalign.data.tokens import prompts_ids
from midalign.data.written import RowError
from midalign.errors import InputError
from midalign.evaluation.generation import generate

GROUPS = ("supervised", "aligned", "never aligned")


def require_scorable(task, config, tokenizer, rows_by_locale):
    """Refuse, before a model is trained, rows that `score_locales` could not answer.   config: the model's.

    Raises InputError.
    """
    rows = [row for rows in rows_by_locale.values() for row in rows]
    try:
        prompts = prompts_ids(tokenizer, map(task.prompt, rows))
    except RowError as error:
        raise InputError(f"{rows[error.number]['place']} {error.problem}.") from error
    Capability.of(config).require_answers(max(map(len, prompts), default=0) + task.max_new_tokens)


def score_locales(task, model, tokenizer, rows_by_locale):
    """{locale: {figure: share}}, the figures that tables show, of greedy answers to the rows of each locale."""
    scores = {}
    for locale, rows in rows_by_locale.items():
        chats = [task.prompt(row) for row in rows]
        answers = generate(model, tokenizer, chats, max_new_tokens=task.max_new_tokens)
        report = task.report(rows, answers)
        scores[locale] = {name: report[name] for name in task.shown}
    return scores


def group_of(task, locale, task_languages, aligned_languages):
    """How a locale took part in training.   aligned_languages: as `languages.language_of` names them."""
    if task.labelled(locale, task_languages):
        return GROUPS[0]
    return GROUPS[1] if task.spoken(locale) & set(aligned_languages) else GROUPS[2]


def transfer_table(task, scores, groups, baseline=None, of_several=False):
    """A rich Table in percent, languages by their part in training, with group means.

    scores, baseline: {locale: {figure: share}}; without a baseline its columns are left out.
    groups: {locale: group}.   of_several: whether there is a table for another task.
    """
    table = Table(title=f"{escape(task.label)}: test rows, in percent" if of_several else "Test rows, in percent")
    for column in ("language", "part in training"):
        table.add_column(column)
    runs = [("with", scores)] if baseline is None else [("without", baseline), ("with", scores)]
    for title in task.shown.values():
        for name, _ in runs:
            table.add_column(f"{title}\n{name} alignment" if baseline else title, justify="right")

    def add(label, group, locales, style=None):
        cells = [
            f"{100 * sum(run[locale][key] for locale in locales) / len(locales):.1f}"
            for key in task.shown
            for _, run in runs
        ]
        table.add_row(label, group, *cells, style=style)

    for group in GROUPS:
        members = [locale for locale in scores if groups[locale] == group]
        for locale in members:
            add(locale, group, [locale])
        if len(members) > 1:
            add("mean", group, members, style="bold")
        if members:
            table.add_section()
    table.caption = task.explained
    return table

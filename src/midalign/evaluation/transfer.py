"""The table at the end of a run: scores per language, beside those of the run without alignment."""

from rich.table import Table

from midalign.data.capability import Capability
from midalign.data.tokens import prompt_ids
from midalign.evaluation.generation import MAX_NEW_TOKENS, generate
from midalign.languages import language_of
from midalign.tasks.slots import massive, scoring

GROUPS = ("supervised", "aligned", "never aligned")


def require_scorable(config, tokenizer, rows_by_locale):
    """Refuse, before a model is trained, rows that `score_locales` could not answer.   config: the model's.

    Raises InputError.
    """
    prompts = (prompt_ids(tokenizer, massive.messages(row)) for rows in rows_by_locale.values() for row in rows)
    Capability.of(config).require_answers(max(map(len, prompts), default=0) + MAX_NEW_TOKENS)


def score_locales(model, tokenizer, rows_by_locale):
    """{locale: {"f1", "name_f1"}} (0..1, see `scoring.score`) of greedy answers to the rows of each locale."""
    scores = {}
    for locale, rows in rows_by_locale.items():
        answers = generate(model, tokenizer, [massive.messages(row) for row in rows])
        report = scoring.score(rows, answers)
        scores[locale] = {"f1": report["f1"], "name_f1": report["name_f1"]}
    return scores


def group_of(locale, task_languages, aligned_languages):
    """How a locale took part in training.   aligned_languages: as `languages.language_of` names them."""
    if locale in task_languages:
        return GROUPS[0]
    return GROUPS[1] if language_of(locale) in aligned_languages else GROUPS[2]


def transfer_table(scores, groups, baseline=None):
    """A rich Table in percent, languages by their part in training, with group means.

    scores, baseline: {locale: {"f1", "name_f1"}}; without a baseline its columns are left out.
    groups: {locale: group}.
    """
    table = Table(title="Test rows, in percent")
    for column in ("language", "part in training"):
        table.add_column(column)
    runs = [("with", scores)] if baseline is None else [("without", baseline), ("with", scores)]
    for title in ("slot F1", "slot found"):
        for name, _ in runs:
            table.add_column(f"{title}\n{name} alignment" if baseline else title, justify="right")

    def add(label, group, locales, style=None):
        cells = [
            f"{100 * sum(run[locale][key] for locale in locales) / len(locales):.1f}"
            for key in ("f1", "name_f1")
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
    table.caption = "slot F1: slot and words right; slot found: F1 of the slot names alone"
    return table

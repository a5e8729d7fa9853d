"""Several runs over the same rows: figures per language and group, gains over a baseline, examples.

Legend: U utterances, L languages of a group, C counts of a figure.
"""

from collections import Counter
from functools import partial

import numpy as np

from midalign.evaluation import statistics
from midalign.evaluation.transfer import GROUPS


def compare(task, rows, answers, groups, baseline):
    """Score every run and set it against the baseline run.

    task: `tasks.base.Task`.   rows: {locale: [row]}.   answers: {run: {locale: [answer]}}.   groups: {locale: group}.
    baseline: a run's name.
    Returns {run: {"languages": {locale: figures}, "groups": {group: figures}, "per_<part>" where the task has parts}};
    figures are shares 0..1. A language has those of `Task.report`, a group the ones that tables show, the unweighted
    means over its languages. Both have the compared figure's interval (f1_ci, say: 95 %; None without enough rows, see
    `statistics.interval`) and, against the baseline, gain, gain_ci, p and p_method (`statistics.paired_test`);
    languages also p_holm and p_bh, p corrected for the number of languages. Rows with one id are drawn and swapped in
    all languages at once, because they come back translated.
    """
    mean = partial(_mean, task)
    report = {run: _figures(task, rows, of_run, groups) for run, of_run in answers.items()}
    for kind, members in (("languages", {locale: [locale] for locale in rows}), ("groups", _members(rows, groups))):
        for name, locales in members.items():
            units = _units(rows, locales, {run: of_run["counts"] for run, of_run in report.items()})
            few = min(len(rows[locale]) for locale in locales) < statistics.FEWEST
            for run in report:
                figures, base = report[run][kind][name], report[baseline][kind][name]
                figures[f"{task.compared}_ci"] = None if few else statistics.interval(units[run], mean)
                if run != baseline:
                    pair = units[run], units[baseline], mean
                    figures["gain"] = figures[task.compared] - base[task.compared]
                    figures["gain_ci"] = None if few else statistics.paired_interval(*pair)
                    figures["p"], figures["p_method"] = statistics.paired_test(*pair)
    for run in report:
        del report[run]["counts"]
        if run != baseline:
            languages = list(report[run]["languages"].values())
            for key, corrected in (("p_holm", statistics.holm), ("p_bh", statistics.benjamini_hochberg)):
                for figures, p in zip(languages, corrected([own["p"] for own in languages]), strict=True):
                    figures[key] = p
    return report


def _figures(task, rows, answers, groups):
    """The figures of one run by itself, and "counts" {locale: (rows, C)} of the compared figure."""
    languages = {locale: task.report(some, answers[locale]) for locale, some in rows.items()}
    counts = {
        locale: np.array([task.counts(*pair)[task.compared] for pair in zip(some, answers[locale], strict=True)])
        for locale, some in rows.items()
    }
    of_groups = {
        group: {
            **{name: float(np.mean([languages[locale][name] for locale in locales])) for name in task.shown},
            task.compared: float(_mean(task, np.stack([counts[locale].sum(axis=0) for locale in locales]))),
            "languages": len(locales),
        }
        for group, locales in _members(rows, groups).items()
    }
    figures = {"languages": languages, "groups": of_groups, "counts": counts}
    if task.part:
        all_rows = [row for some in rows.values() for row in some]
        all_answers = [text for locale in rows for text in answers[locale]]
        figures[f"per_{task.part}"] = task.report(all_rows, all_answers)[f"per_{task.part}"]
    return figures


def _members(rows, groups):
    """{group: its locales} of the groups that have any, in their order."""
    members = {group: [locale for locale in rows if groups[locale] == group] for group in GROUPS}
    return {group: locales for group, locales in members.items() if locales}


def _mean(task, sums):
    """The compared figure, mean over languages.   sums: (..., L, C).   Returns (...)."""
    return task.share(sums).mean(axis=-1)


def _units(rows, locales, counts):
    """The utterances of some languages: {run: (U, L, C)}, 0 where a language lacks one.

    counts: {run: {locale: (rows, C)}}.
    """
    place = {name: i for i, name in enumerate(dict.fromkeys(row["id"] for locale in locales for row in rows[locale]))}
    width = next(iter(next(iter(counts.values())).values())).shape[1]
    units = {run: np.zeros((len(place), len(locales), width)) for run in counts}
    for column, locale in enumerate(locales):
        own = [place[row["id"]] for row in rows[locale]]
        for run in counts:
            units[run][own, column] = counts[run][locale]
    return units


def failing(task, report, baseline, run, count=12):
    """The parts, such as slots, that `run` misses most often over all languages, worst first; none without parts.

    Returns a list of {task.part: its name, "support", "missed", "f1", "baseline_f1"}; support is how often the gold has
    it.
    """
    if not task.part:
        return []
    before, after = (report[name][f"per_{task.part}"] for name in (baseline, run))
    found = [
        {
            task.part: part,
            "support": figures["support"],
            "missed": round(figures["support"] * (1 - figures["recall"])),
            "f1": figures["f1"],
            "baseline_f1": before[part]["f1"],
        }
        for part, figures in after.items()
        if figures["support"]
    ]
    return sorted(found, key=lambda own: (-own["missed"], own[task.part]))[:count]


def examples(task, rows, answers, baseline, run, per_kind=2):
    """Rows to look at, for every locale: of each kind that `Task.change` tells, in `run` against `baseline`.

    Returns a list of {"locale", "kind", task.text: what was asked, "gold", "answers": {run: text}}, the first of each
    kind.
    """
    chosen = []
    for locale, some in rows.items():
        taken = Counter()
        for i, row in enumerate(some):
            kind = task.change(row, *(answers[name][locale][i] for name in (baseline, run)))
            if kind and taken[kind] < per_kind:
                taken[kind] += 1
                texts = {name: of_run[locale][i] for name, of_run in answers.items()}
                asked, gold = {task.text: row[task.text]}, task.gold(row)
                chosen.append({"locale": locale, "kind": kind, **asked, "gold": gold, "answers": texts})
    return chosen

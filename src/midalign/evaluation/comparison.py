"""Several runs over the same rows: figures per language and group, gains over a baseline, examples.

Legend: R resamples, U utterances, L languages of a group.
"""

from collections import defaultdict

import numpy as np

from midalign.evaluation.transfer import GROUPS
from midalign.tasks.slots import massive, scoring

RESAMPLES = 1000
# (right in the baseline, right in the run) -> what to call a row; those right in both teach nothing.
KINDS = {(False, True): "mended", (True, False): "broken", (False, False): "still wrong"}
FIGURES = ("f1", "precision", "recall", "exact_match", "name_f1", "rows", "malformed", "per_slot")


def compare(rows, answers, groups, baseline):
    """Score every run and set it against the baseline run.

    rows: {locale: [row]}.   answers: {run: {locale: [answer]}}.   groups: {locale: group}.   baseline: a run's name.
    Returns {run: {"languages": {locale: figures}, "groups": {group: figures}, "per_slot"}}; figures are shares 0..1:
    those of `scoring.score`, f1_ci (95 %), and against the baseline gain and p, for groups gain_ci. A group's f1 is
    the unweighted mean over its languages; its interval draws utterances, each in all languages at once, because
    one utterance comes back translated.
    """
    report = {run: _figures(rows, of_run, groups) for run, of_run in answers.items()}
    drawn = {run: {group: figures.pop("drawn") for group, figures in report[run]["groups"].items()} for run in report}
    base = report[baseline]
    for run in report.keys() - {baseline}:
        for locale, figures in report[run]["languages"].items():
            figures["gain"] = figures["f1"] - base["languages"][locale]["f1"]
            pair = answers[run][locale], answers[baseline][locale]
            figures["p"] = scoring.paired_bootstrap(rows[locale], *pair, RESAMPLES)
        for group, figures in report[run]["groups"].items():
            figures["gain"] = figures["f1"] - base["groups"][group]["f1"]
            figures["gain_ci"] = _interval(drawn[run][group] - drawn[baseline][group])
    return report


def _figures(rows, answers, groups):
    """The figures of one run by itself; those of a group hold the resampled means as "drawn"."""
    languages, counts = {}, {}
    for locale, some in rows.items():
        report = scoring.score(some, answers[locale])
        counts[locale] = [scoring.row_counts(row, text) for row, text in zip(some, answers[locale], strict=True)]
        languages[locale] = {name: report[name] for name in FIGURES}
        languages[locale]["f1_ci"] = scoring.bootstrap_ci(counts[locale], RESAMPLES)
    of_groups = {}
    for group in GROUPS:
        members = [locale for locale in rows if groups[locale] == group]
        if members:
            f1, drawn = _mean_f1(members, rows, counts)
            of_groups[group] = {"f1": f1, "f1_ci": _interval(drawn), "languages": len(members), "drawn": drawn}
    all_rows = [row for some in rows.values() for row in some]
    all_answers = [text for locale in rows for text in answers[locale]]
    return {"languages": languages, "groups": of_groups, "per_slot": scoring.score(all_rows, all_answers)["per_slot"]}


def _mean_f1(members, rows, counts):
    """Mean F1 over languages: (float, (R,) under resampling of utterances). The draws are the same in every call.

    Utterances that the same languages have are drawn among each other, so that a language keeps its number of rows.
    """
    table = defaultdict(lambda: np.zeros((len(members), 3)))  # id: (L, 3)
    for column, locale in enumerate(members):
        for row, of_row in zip(rows[locale], counts[locale], strict=True):
            table[row["id"]][column] = of_row
    strata = defaultdict(list)
    for name, languages in _languages_of(members, rows).items():
        strata[languages].append(table[name])
    rng = np.random.default_rng(0)
    total, drawn = np.zeros((len(members), 3)), np.zeros((RESAMPLES, len(members), 3))
    for stratum in map(np.array, strata.values()):  # (U, L, 3)
        draws = rng.multinomial(len(stratum), np.full(len(stratum), 1 / len(stratum)), size=RESAMPLES)
        total += stratum.sum(axis=0)
        drawn += np.tensordot(draws, stratum, axes=1)
    return float(scoring.micro_f1(total).mean()), scoring.micro_f1(drawn).mean(axis=1)


def _languages_of(members, rows):
    """{id: the languages that have it}."""
    having = defaultdict(tuple)
    for locale in members:
        for row in rows[locale]:
            having[row["id"]] += (locale,)
    return having


def _interval(values):
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def failing_slots(report, baseline, run, count=12):
    """The slots that `run` misses most often over all languages, worst first.

    Returns a list of {"slot", "support", "missed", "f1", "baseline_f1"}; support is how often the gold has it.
    """
    before, after = report[baseline]["per_slot"], report[run]["per_slot"]
    found = [
        {
            "slot": slot,
            "support": figures["support"],
            "missed": round(figures["support"] * (1 - figures["recall"])),
            "f1": figures["f1"],
            "baseline_f1": before[slot]["f1"],
        }
        for slot, figures in after.items()
        if figures["support"]
    ]
    return sorted(found, key=lambda slot: (-slot["missed"], slot["slot"]))[:count]


def examples(rows, answers, baseline, run, per_kind=2):
    """Rows to look at, for every locale: mended, broken and still wrong in `run` against `baseline`.

    Returns a list of {"locale", "kind", "utt", "gold", "answers": {run: text}}, the first of each kind.
    """
    chosen = []
    for locale, some in rows.items():
        left = dict.fromkeys(KINDS.values(), per_kind)
        for i, row in enumerate(some):
            before, after = (_right(row, answers[name][locale][i]) for name in (baseline, run))
            kind = KINDS.get((before, after))
            if left.get(kind):
                left[kind] -= 1
                texts = {name: of_run[locale][i] for name, of_run in answers.items()}
                gold = massive.target(row["annot_utt"])
                chosen.append({"locale": locale, "kind": kind, "utt": row["utt"], "gold": gold, "answers": texts})
    return chosen


def _right(row, text):
    _, spurious, missed = scoring.row_counts(row, text)
    return spurious == missed == 0

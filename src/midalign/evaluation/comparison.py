"""Several runs over the same rows: figures per language and group, gains over a baseline, examples.

Legend: U utterances, L languages of a group.
"""

import numpy as np

from midalign.evaluation import statistics
from midalign.evaluation.transfer import GROUPS
from midalign.tasks.slots import massive, scoring

# (right in the baseline, right in the run) -> what to call a row; those right in both teach nothing.
KINDS = {(False, True): "mended", (True, False): "broken", (False, False): "still wrong"}
FIGURES = ("f1", "precision", "recall", "exact_match", "name_f1", "rows", "malformed", "per_slot")


def compare(rows, answers, groups, baseline):
    """Score every run and set it against the baseline run.

    rows: {locale: [row]}.   answers: {run: {locale: [answer]}}.   groups: {locale: group}.   baseline: a run's name.
    Returns {run: {"languages": {locale: figures}, "groups": {group: figures}, "per_slot"}}; figures are shares 0..1.
    A language has those of `scoring.score`, a group f1 and name_f1, the unweighted means over its languages. Both have
    f1_ci (95 %; None without enough rows, see `statistics.interval`) and, against the baseline, gain, gain_ci,
    p and p_method (`statistics.paired_test`); languages also p_holm and p_bh, p corrected for the number of
    languages. Utterances are drawn and swapped in all languages at once, because one comes back translated.
    """
    report = {run: _figures(rows, of_run, groups) for run, of_run in answers.items()}
    for kind, members in (("languages", {locale: [locale] for locale in rows}), ("groups", _members(rows, groups))):
        for name, locales in members.items():
            units = _units(rows, locales, {run: of_run["counts"] for run, of_run in report.items()})
            few = min(len(rows[locale]) for locale in locales) < statistics.FEWEST
            for run in report:
                figures, base = report[run][kind][name], report[baseline][kind][name]
                figures["f1_ci"] = None if few else statistics.interval(units[run], _mean_f1)
                if run != baseline:
                    pair = units[run], units[baseline], _mean_f1
                    figures["gain"] = figures["f1"] - base["f1"]
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


def _figures(rows, answers, groups):
    """The figures of one run by itself, and "counts" {locale: (rows, 3)}."""
    languages, counts = {}, {}
    for locale, some in rows.items():
        report = scoring.score(some, answers[locale])
        languages[locale] = {name: report[name] for name in FIGURES}
        counts[locale] = np.array(list(map(scoring.row_counts, some, answers[locale])))
    of_groups = {
        group: {
            "f1": float(_mean_f1(np.stack([counts[locale].sum(axis=0) for locale in locales]))),
            "name_f1": float(np.mean([languages[locale]["name_f1"] for locale in locales])),
            "languages": len(locales),
        }
        for group, locales in _members(rows, groups).items()
    }
    all_rows = [row for some in rows.values() for row in some]
    all_answers = [text for locale in rows for text in answers[locale]]
    per_slot = scoring.score(all_rows, all_answers)["per_slot"]
    return {"languages": languages, "groups": of_groups, "per_slot": per_slot, "counts": counts}


def _members(rows, groups):
    """{group: its locales} of the groups that have any, in their order."""
    members = {group: [locale for locale in rows if groups[locale] == group] for group in GROUPS}
    return {group: locales for group, locales in members.items() if locales}


def _mean_f1(sums):
    """Mean over languages.   sums: (..., L, 3).   Returns (...)."""
    return scoring.micro_f1(sums).mean(axis=-1)


def _units(rows, locales, counts):
    """The utterances of some languages: {run: (U, L, 3)}, 0 where a language lacks one.

    counts: {run: {locale: (rows, 3)}}.
    """
    place = {name: i for i, name in enumerate(dict.fromkeys(row["id"] for locale in locales for row in rows[locale]))}
    units = {run: np.zeros((len(place), len(locales), 3)) for run in counts}
    for column, locale in enumerate(locales):
        own = [place[row["id"]] for row in rows[locale]]
        for run in counts:
            units[run][own, column] = counts[run][locale]
    return units


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
            before, after = (scoring.is_exact(row, answers[name][locale][i]) for name in (baseline, run))
            kind = KINDS.get((before, after))
            if left.get(kind):
                left[kind] -= 1
                texts = {name: of_run[locale][i] for name, of_run in answers.items()}
                gold = massive.target(row["annot_utt"])
                chosen.append({"locale": locale, "kind": kind, "utt": row["utt"], "gold": gold, "answers": texts})
    return chosen

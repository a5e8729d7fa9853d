"""Several arms over the same rows: figures per language and group, gains over a baseline, examples.

An arm is one training run, or several that differ in their seed.

Legend: U utterances, L languages of a group, C counts of a figure.
"""

from collections import Counter
from functools import partial

import numpy as np

from midalign.evaluation import statistics
from midalign.evaluation.transfer import GROUPS


def compare(task, arms, groups, baseline):
    """Score every arm and set it against the baseline.

    task: `tasks.base.Task`.   arms: {arm: [`counts.Counted`]}, all of the same rows.   groups: {locale: group}.
    baseline: an arm's name.
    Returns {arm: {"languages": {locale: figures}, "groups": {group: figures}, "per_<part>" where the task has parts}};
    figures are shares 0..1. A language has those of `Task.report`, a group the ones that tables show, the unweighted
    means over its languages; an arm of several runs has the means of what tables show, and "each" {run: the compared
    figure}; with "seeds" {run: seed} and, but for the baseline, "shared", the seeds that `matched` tells. All have the
    compared figure's interval (f1_ci, say: 95 %; None without enough rows) and, against the
    baseline, gain, gain_ci, p and p_method; languages also p_holm and p_bh, p corrected for the number of languages.
    Of one run each they are over utterances (`statistics.interval`, `paired_interval`, `paired_test`), else over seeds
    and utterances (`statistics.over_seeds`), gains between the runs that `matched` tells, p None where there is no
    interval. Rows of one utterance are drawn and swapped in all languages at once, because they come back translated.
    """
    mean = partial(_mean, task)
    every = [run for runs in arms.values() for run in runs]
    rows = every[0].counts
    report = {arm: _figures(task, runs, groups) for arm, runs in arms.items()}
    for kind, members in (("languages", {locale: [locale] for locale in rows}), ("groups", _members(rows, groups))):
        for name, locales in members.items():
            units = _units(locales, every)
            few = min(len(rows[locale]) for locale in locales) < statistics.FEWEST
            for arm, runs in arms.items():
                figures = report[arm][kind][name]
                figures[f"{task.compared}_ci"] = None if few else _interval(units, runs, mean)
                if arm != baseline:
                    ours, theirs, seeds = matched(runs, arms[baseline])
                    before = report[baseline][kind][name]
                    figures["gain"] = _of(figures, task.compared, ours) - _of(before, task.compared, theirs)
                    figures |= _sureness(units, ours, theirs, bool(seeds), mean, few)
    for arm, own in report.items():
        own["seeds"] = {run.name: run.seed for run in arms[arm]}
        if arm != baseline:
            own["shared"] = matched(arms[arm], arms[baseline])[2]
            tested = [figures for figures in own["languages"].values() if figures["p"] is not None]
            for key, corrected in (("p_holm", statistics.holm), ("p_bh", statistics.benjamini_hochberg)):
                for figures in own["languages"].values():
                    figures[key] = None
                for figures, p in zip(tested, corrected([figures["p"] for figures in tested]), strict=True):
                    figures[key] = p
    return report


def matched(runs, others):
    """The runs of two arms between which a gain is taken: (ours, theirs, seeds).

    Those of the seeds that both arms have, in their order: what a seed does to both is no gain. Where they share none,
    or their seeds are not known, all runs of both, and seeds is []; so where both have several runs and share one seed,
    since one pair would not tell what seeds do. One run each is compared as it is.
    """
    ours, theirs = ({run.seed: run for run in some if run.seed is not None} for some in (runs, others))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds or len(seeds) == 1 < min(len(runs), len(others)):
        return runs, others, []
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds], seeds


def _interval(units, runs, mean):
    """That of one arm.   units: of `_units`."""
    if len(runs) == 1:
        return statistics.interval(units[runs[0].name], mean)
    ends, _, _ = statistics.over_seeds(_stacked(units, runs), [np.eye(len(runs))], mean)
    return ends and (max(ends[0], 0.0), min(ends[1], 1.0))  # no share is beyond


def _sureness(units, ours, theirs, paired, mean, few):
    """gain_ci, p and p_method of a gain between runs.   paired: whether each has its partner, of the same seed."""
    n, m = len(ours), len(theirs)
    if n == m == 1:
        pair = units[ours[0].name], units[theirs[0].name], mean
        p, method = statistics.paired_test(*pair)
        return {"gain_ci": None if few else statistics.paired_interval(*pair), "p": p, "p_method": method}
    if few:
        return {"gain_ci": None, "p": None, "p_method": None}
    plus, minus = np.eye(n, n + m), -np.eye(m, n + m, n)
    samples = [plus + minus] if paired else [plus, minus]
    ends, p, freedom = statistics.over_seeds(_stacked(units, [*ours, *theirs]), samples, mean)
    method = None if p is None else f"t and z, {freedom:.1f} degrees of freedom"
    return {"gain_ci": ends, "p": p, "p_method": method}


def _stacked(units, runs):
    return np.stack([units[run.name] for run in runs], axis=1)  # (U, N, L, C)


def _of(figures, name, runs):
    """The mean of a figure over some of an arm's runs."""
    return float(np.mean([figures["each"][run.name] for run in runs])) if "each" in figures else figures[name]


def _figures(task, runs, groups):
    """The figures of one arm by itself."""
    each = [_figures_of_run(task, run, groups) for run in runs]
    if len(runs) == 1:
        return each[0]
    merged = {
        kind: {
            name: _means(task, {run.name: own[kind][name] for run, own in zip(runs, each, strict=True)})
            for name in some
        }
        for kind, some in each[0].items()
        if kind in ("languages", "groups")
    }
    if all(run.parts is not None for run in runs):
        merged[f"per_{task.part}"] = _mean_parts([run.parts for run in runs])
    return merged


def _means(task, each):
    """The figures of an arm.   each: {run: figures}, which have "rows" or "languages" in common."""
    first = next(iter(each.values()))
    return {
        **{name: float(np.mean([own[name] for own in each.values()])) for name in task.shown},
        **{key: first[key] for key in ("rows", "languages") if key in first},
        "each": {run: own[task.compared] for run, own in each.items()},
    }


def _mean_parts(each):
    """{label: the means of its figures} over the runs that have it.   each: [{label: figures}]."""
    labels = dict.fromkeys(label for own in each for label in own)
    found = {label: [own[label] for own in each if label in own] for label in labels}
    return {
        label: {
            **{name: float(np.mean([own[name] for own in some])) for name in some[0]},
            "support": some[0]["support"],
        }
        for label, some in found.items()
    }


def _figures_of_run(task, run, groups):
    of_groups = {
        group: {
            **{name: float(np.mean([run.languages[locale][name] for locale in locales])) for name in task.shown},
            task.compared: float(_mean(task, np.stack([run.counts[locale].sum(axis=0) for locale in locales]))),
            "languages": len(locales),
        }
        for group, locales in _members(run.counts, groups).items()
    }
    parts = {f"per_{task.part}": run.parts} if run.parts is not None else {}
    return {"languages": {locale: {**own} for locale, own in run.languages.items()}, "groups": of_groups, **parts}


def _members(rows, groups):
    """{group: its locales} of the groups that have any, in their order."""
    members = {group: [locale for locale in rows if groups[locale] == group] for group in GROUPS}
    return {group: locales for group, locales in members.items() if locales}


def _mean(task, sums):
    """The compared figure, mean over languages.   sums: (..., L, C).   Returns (...)."""
    return task.share(sums).mean(axis=-1)


def _units(locales, runs):
    """The utterances of some languages: {run: (U, L, C)}, 0 where a language lacks one."""
    numbers = np.unique(np.concatenate([runs[0].units[locale] for locale in locales]))
    units = {run.name: np.zeros((len(numbers), len(locales), run.counts[locales[0]].shape[1])) for run in runs}
    for column, locale in enumerate(locales):
        own = np.searchsorted(numbers, runs[0].units[locale])
        for run in runs:
            units[run.name][own, column] = run.counts[locale]
    return units


def failing(task, report, baseline, run, count=12):
    """The parts, such as slots, that `run` misses most often over all languages, worst first; none without parts,
    which files of counts do not have.

    Returns a list of {task.part: its name, "support", "missed", "f1", "baseline_f1"}; support is how often the gold has
    it.
    """
    if not all(f"per_{task.part}" in report[name] for name in (baseline, run)):
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

    answers: {run: {locale: [answer]}}.
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

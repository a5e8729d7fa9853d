"""Arms of several runs: intervals and p over seeds and utterances, by hand, beside scipy's, on arms that are alike."""

import base64
import json

import numpy as np
import pytest
from alike_arms import paired, simulate, unpaired
from scipy import stats

from midalign.errors import InputError
from midalign.evaluation.comparison import compare, matched
from midalign.evaluation.counts import (
    _packed,
    asked_of,
    counted,
    counted_each,
    read_counts,
    require_comparable,
    write_counts,
)
from midalign.evaluation.notes import notes, over
from midalign.evaluation.report import lines, told
from midalign.evaluation.statistics import over_seeds
from midalign.tasks.base import accuracy
from midalign.tasks.intents import Intents
from midalign.tasks.slots.task import Slots

SLOTS = Slots("slots")


def alike_rows(shares, rows=40):
    """Counts (rows, N, 2) in which every row has the same share right: no sample of rows differs from another."""
    return np.tile(np.array([[1000 * share, 1000] for share in shares]), (rows, 1, 1))


@pytest.mark.parametrize("gains", [(0.02, 0.05, 0.08), (0.03, -0.01), (0.01, 0.04, 0.03, 0.09, 0.02)])
def test_where_utterances_say_nothing_the_interval_is_that_of_the_t_test_over_runs(gains):
    n, before = len(gains), np.linspace(0.4, 0.5, len(gains))
    ends, p, freedom = over_seeds(alike_rows([*(before + gains), *before]), paired(n), accuracy)
    expected = stats.ttest_1samp(gains, 0)
    assert p == pytest.approx(expected.pvalue, rel=1e-6) and freedom == pytest.approx(n - 1)
    assert ends == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-9)


def test_arms_without_a_common_seed_are_compared_by_welchs_test():
    ours, theirs = (0.50, 0.56, 0.53), (0.44, 0.45, 0.40, 0.52)
    samples = [np.eye(3, 7), -np.eye(4, 7, 3)]
    ends, p, freedom = over_seeds(alike_rows([*ours, *theirs]), samples, accuracy)
    expected = stats.ttest_ind(ours, theirs, equal_var=False)
    assert (p, freedom) == (pytest.approx(expected.pvalue, rel=1e-6), pytest.approx(expected.df))
    assert ends == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-9)


def test_where_seeds_do_nothing_the_interval_is_the_normal_one_over_utterances():
    # In all three runs half of 400 rows are right: the standard error is 0.025, 1.96 of it 0.049.
    right = np.tile([[1, 1], [0, 1]], (200, 1))
    units = np.stack([right] * 3, axis=1)
    (low, high), p, _ = over_seeds(units, [np.eye(3)], accuracy)
    assert (low, high) == (pytest.approx(0.451, abs=0.004), pytest.approx(0.549, abs=0.004))
    assert p < 1e-11
    half = np.tile([[[1, 1], [0, 1]], [[0, 1], [0, 1]]], (200, 1, 1))  # a run that has half, one that has nothing
    _, p, _ = over_seeds(np.concatenate([half, half], axis=1), [np.eye(2, 4) - np.eye(2, 4, 2)], accuracy)
    assert p is None  # each run less itself: nothing varies


def test_both_kinds_of_variance_add_up_by_hand():
    # Gains of .2 and .1 over runs that are all wrong: v = .005 / 2 = .05^2, t(1) = 12.706.
    rows = 400
    right = np.array([[i < 0.2 * rows, i < 0.1 * rows] for i in range(rows)])
    units = np.stack([np.hstack([right, np.zeros_like(right)]), np.ones((rows, 4))], axis=-1)
    (low, high), _, freedom = over_seeds(units, paired(2), accuracy)
    w = np.var(right.mean(axis=1)) / rows  # 0.0061^2 of the mean over the two runs
    expected = np.sqrt(12.706**2 * 0.05**2 + 1.96**2 * w)
    assert freedom == pytest.approx(1)
    assert ((low + high) / 2, (high - low) / 2) == (pytest.approx(0.15), pytest.approx(expected, rel=1e-3))


def test_the_p_value_is_the_level_at_which_the_interval_begins_to_hold_nothing():
    units = np.random.default_rng(2).integers(0, 2, (200, 6, 1))
    units = np.concatenate([units, np.ones_like(units)], axis=-1)
    _, p, _ = over_seeds(units, paired(3), accuracy)
    (low, high), _, _ = over_seeds(units, paired(3), accuracy, level=1 - p)
    assert min(abs(low), abs(high)) < 1e-9


def test_fewer_rows_than_resampling_needs_give_neither_interval_nor_p():
    assert over_seeds(alike_rows([0.1, 0.4, 0.2, 0.1], rows=29), paired(2), accuracy) == (None, None, None)


@pytest.mark.parametrize(
    ("samples", "runs", "between"), [(paired, 3, 0.0), (paired, 3, 0.45), (paired, 5, 0.45), (unpaired, 3, 0.45)]
)
def test_arms_that_are_alike_are_found_to_differ_in_at_most_five_percent(samples, runs, between):
    tries = 100
    _, ours, _, one_run_each, _, _ = simulate(runs, 200, between, tries, seed=runs, samples=samples)
    assert ours < 0.05 + 2 * np.sqrt(0.05 * 0.95 / tries)  # 0.094
    if between:
        assert one_run_each > 0.2  # what an interval over utterances makes of seeds


# Four seeds of two arms, 40 rows in two languages; a run of seed s has the first 10 + s right, aligned ones 8 more.
ROWS = {
    locale: [{"id": str(i), "locale": locale, "utt": f"u{i}", "annot_utt": f"[time : t{i}]"} for i in range(40)]
    for locale in ("tr-TR", "cy-GB")
}
GROUPS = dict.fromkeys(ROWS, "aligned")


def run(name, right, seed=None, rows=ROWS):
    answers = {
        locale: [SLOTS.gold(row) if i < right else "time: x" for i, row in enumerate(some)]
        for locale, some in rows.items()
    }
    return counted(SLOTS, name, rows, answers, seed)


def arm(name, more, seeds):
    return [run(f"{name}-{seed}", 10 + seed * 2 + more + (seed == 2), seed) for seed in seeds]


def test_an_arm_has_the_mean_of_its_runs_and_gains_between_runs_of_one_seed():
    arms = {"task": arm("task", 0, (1, 2, 3)), "aligned": arm("aligned", 8, (3, 1))}  # 12 15 16, 24 20
    report = compare(SLOTS, arms, GROUPS, "task")
    task, aligned = report["task"]["languages"]["tr-TR"], report["aligned"]["languages"]["tr-TR"]
    assert task["f1"] == pytest.approx((12 + 15 + 16) / 3 / 40) and aligned["f1"] == pytest.approx(22 / 40)
    assert aligned["each"] == {"aligned-3": 24 / 40, "aligned-1": 20 / 40}
    assert aligned["gain"] == pytest.approx(8 / 40)  # of seeds 1 and 3: 20 - 12, 24 - 16; with 15 it would be 7.67
    assert report["aligned"]["shared"] == [1, 3] and report["aligned"]["seeds"] == {"aligned-3": 3, "aligned-1": 1}
    assert aligned["p_method"] == "t and z, 1.0 degrees of freedom"
    group = report["aligned"]["groups"]["aligned"]
    assert group["f1"] == pytest.approx(22 / 40) and group["gain"] == pytest.approx(8 / 40)
    assert group["gain_ci"] == pytest.approx(aligned["gain_ci"], abs=1e-9)  # both languages answer alike
    low, high = task["f1_ci"]
    assert 0 <= low < task["f1"] < high <= 1


def test_a_run_of_one_seed_is_compared_with_the_run_of_that_seed_as_if_both_were_alone():
    alone = compare(SLOTS, {"task-2": [run("task-2", 15, 2)], "paper": [run("paper", 19, 2)]}, GROUPS, "task-2")
    beside = compare(SLOTS, {"task": arm("task", 0, (1, 2, 3)), "paper": [run("paper", 19, 2)]}, GROUPS, "task")
    for kind in ("languages", "groups"):
        assert alone["paper"][kind] == beside["paper"][kind]
    assert beside["paper"]["shared"] == [2]


def test_runs_of_unknown_or_other_seeds_are_not_paired():
    ours, theirs = arm("a", 8, (1, 2)), arm("b", 0, (3, 4))
    assert matched(ours, theirs) == (ours, theirs, [])
    nameless = [run("c", 12), run("d", 14)]
    assert matched(nameless, nameless[::-1]) == (nameless, nameless[::-1], [])
    report = compare(SLOTS, {"b": theirs, "a": ours}, GROUPS, "b")["a"]["languages"]["tr-TR"]
    assert report["gain"] == pytest.approx((20 + 23) / 80 - (16 + 18) / 80)
    assert report["p_method"].startswith("t and z")


def test_several_runs_that_share_one_seed_are_compared_with_what_all_of_them_tell_of_seeds():
    ours, theirs = arm("a", 8, (1, 4)), arm("b", 0, (1, 2, 3))
    assert matched(ours, theirs) == (ours, theirs, [])
    assert matched(ours, theirs[:1]) == (ours[:1], theirs[:1], [1])  # one run has no variance to lose
    report = compare(SLOTS, {"b": theirs, "a": ours}, GROUPS, "b")["a"]
    assert report["shared"] == [] and report["languages"]["tr-TR"]["p_method"].startswith("t and z")
    assert report["languages"]["tr-TR"]["gain"] == pytest.approx((20 + 26) / 80 - (12 + 15 + 16) / 120)


def test_languages_without_a_p_are_not_counted_in_the_correction():
    rows = {"tr-TR": ROWS["tr-TR"], "cy-GB": ROWS["cy-GB"][:20]}
    arms = {
        name: [run(f"{name}-{seed}", 5 + seed + more, seed, rows) for seed in (1, 2, 3)]
        for name, more in (("task", 0), ("aligned", 6))
    }
    languages = compare(SLOTS, arms, GROUPS, "task")["aligned"]["languages"]
    assert (languages["cy-GB"]["p"], languages["cy-GB"]["p_bh"], languages["cy-GB"]["gain_ci"]) == (None, None, None)
    assert languages["tr-TR"]["p_bh"] == languages["tr-TR"]["p_holm"] == languages["tr-TR"]["p"]


def test_the_report_says_over_what_each_interval_and_gain_is():
    arms = {
        "base": [run("base", 3)],
        "task": arm("task", 0, (1, 2, 3)),
        "aligned": arm("aligned", 8, (1, 2, 3)),
        "paper": [run("paper", 19, 2)],
        "other": [run("other", 19, 9)],
    }
    result = {"task": told(SLOTS), "runs": compare(SLOTS, arms, GROUPS, "task"), "groups": GROUPS, "baseline": "task"}
    head, first, second, third, *_ = lines(result)
    assert head[:5] == ["language", "rows", "run", "slot F1 (95 %)", "each run"]
    assert first[2:5:2] == ["base", ""] and second[2:5:2] == ["task (3 runs)", "30.0 37.5 40.0"]
    assert third[2] == "aligned (3 runs)" and third[6].startswith("+20.0 (")
    said = " ".join(notes(result))
    assert "Gains of aligned: between runs of one seed, 1, 2, 3." in said
    assert "Gains of paper: between the runs of seed 2 alone, over utterances, one run each." in said
    assert (
        "Gains of other: between the means of all runs, which share fewer than two known seeds. other: one run" in said
    )
    assert "another seed alone can move a mean by points" in said
    assert over(result) == (
        "Intervals of several runs are over seeds and utterances, those of one run, or between one run each, over "
        "utterances alone."
    )


@pytest.fixture
def kept(tmp_path):
    """kept(task, rows, answers, seed) -> (what was counted, the file of it)."""

    def write(task, rows, answers, seed=3):
        own = counted(task, "task-3", rows, answers, seed)
        asked, path = asked_of(task, "test", "f" * 64, 8), tmp_path / "counts.json"
        data = {"source": "massive", "rows": {locale: len(some) for locale, some in rows.items()}}
        write_counts(path, task, own, dict.fromkeys(rows, "aligned"), asked, {"data": data, "model": {}})
        return own, path

    return write


@pytest.mark.parametrize("task", [SLOTS, Intents("intents")])
def test_a_file_of_counts_gives_the_same_comparison_and_holds_no_text(kept, task):
    rng = np.random.default_rng(1)
    rows = {
        locale: [
            {"id": f"secret{i + more}", "locale": locale, "utt": "secret", "annot_utt": "[time : secret]"}
            | {"intent": ["alarm_set", "play_music"][i % 2]}
            for i in range(60)
        ]
        for locale, more in (("tr-TR", 0), ("cy-GB", 7))
    }
    answers = {
        locale: [task.gold(row) if rng.random() < 0.5 else "time: secret, place: secret" for row in some]
        for locale, some in rows.items()
    }
    own, path = kept(task, rows, answers)
    file = read_counts(path)
    require_comparable(task, asked_of(task, "test", "f" * 64, 8), {"tr-TR": 60, "cy-GB": 60}, [file])
    groups = dict.fromkeys(rows, "aligned")
    before, after = (compare(task, {"task": [some]}, groups, "task")["task"] for some in (own, file.run))
    for name, figures in after["languages"].items():
        assert figures == {key: before["languages"][name][key] for key in figures}
    assert after["groups"] == before["groups"] and file.run.seed == 3 and file.groups == groups
    assert "secret" not in path.read_text() and path.stat().st_size < 2500


def test_large_negative_and_broken_counts_come_back_as_they_were(tmp_path):
    from midalign.evaluation import counts

    for values in ([[1, 255]], [[-1, 256]], [[70_000, -3]], [[0.25, 1]], [[2.0**40, 0]]):
        assert counts._unpacked(counts._packed(values), 1).tolist() == values


def without_checksum(packed):
    kind, text = packed.split(" ")
    return f"{kind} {base64.b64encode(base64.b64decode(text)[:-4]).decode()}"


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("languages"),
        lambda content: content["languages"]["tr-TR"].update(counts="|u1 AAAA"),
        lambda content: content["languages"]["tr-TR"].update(counts="|O AAAA"),
        lambda content: content["languages"]["tr-TR"].update(rows=3),
        lambda content: content["languages"]["tr-TR"].update(units=_packed(np.zeros(40, int))),
        lambda content: content["languages"]["tr-TR"].update(
            counts=without_checksum(content["languages"]["tr-TR"]["counts"])
        ),
        lambda content: content.update(seed=1.9),
        lambda content: content["languages"]["tr-TR"].update(group="mine"),
        lambda content: content.update(asked=3),
        lambda content: content["record"].update(data={}),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence(kept, change):
    rows = {"tr-TR": ROWS["tr-TR"]}
    _, path = kept(SLOTS, rows, {"tr-TR": ["None"] * 40})
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"is no counts.json of `midalign evaluate`"):
        read_counts(path)


def test_counts_of_other_rows_other_questions_or_other_figures_are_refused(kept):
    rows = {"tr-TR": ROWS["tr-TR"]}
    _, path = kept(SLOTS, rows, {"tr-TR": ["None"] * 40})
    asked, here = asked_of(SLOTS, "test", "f" * 64, 8), {"tr-TR": 40}
    require_comparable(SLOTS, asked, here, [read_counts(path)])
    for other, names in (
        ({"rows": "e"}, "rows"),
        ({"instruction": "x", "partition": "train"}, "instruction, partition"),
    ):
        with pytest.raises(InputError, match=rf"something else \(other {names}\)"):
            require_comparable(SLOTS, asked | other, here, [read_counts(path)])
    with pytest.raises(InputError, match="other languages or numbers of rows"):
        require_comparable(SLOTS, asked, {"tr-TR": 40, "cy-GB": 40}, [read_counts(path)])
    content = json.loads(path.read_text())
    own = content["languages"]["tr-TR"]
    for change in (
        {"figures": own["figures"] | {"f1": 0.9}},
        {"figures": own["figures"] | {"f1": float("nan")}},
        {"figures": {"f1": own["figures"]["f1"]}},
        {"counts": own["units"]},
    ):
        path.write_text(json.dumps({**content, "languages": {"tr-TR": own | change}}))
        with pytest.raises(InputError, match="does not have the figures of task slots"):
            require_comparable(SLOTS, asked, here, [read_counts(path)])


def test_counts_that_join_other_rows_of_their_languages_are_refused(kept):
    answers = {locale: ["None"] * 40 for locale in ROWS}
    others = {**ROWS, "cy-GB": [{**row, "id": str(int(row["id"]) + 7)} for row in ROWS["cy-GB"]]}
    asked, files = asked_of(SLOTS, "test", "f" * 64, 8), []
    for rows in (ROWS, others):
        files.append(read_counts(kept(SLOTS, rows, answers)[1]))
    with pytest.raises(InputError, match="differ in which rows are translations"):
        require_comparable(SLOTS, asked, {"tr-TR": 40, "cy-GB": 40}, files)


def test_every_run_is_an_arm_of_its_own_where_none_is_told():
    answers = {"tr-TR": ["None"] * 40, "cy-GB": ["None"] * 40}
    arms = counted_each(SLOTS, ROWS, {"a": answers, "b": answers})
    assert {name: [own.name for own in some] for name, some in arms.items()} == {"a": ["a"], "b": ["b"]}


def test_scores_from_before_there_were_arms_still_have_their_table_and_notes():
    runs = compare(SLOTS, {"a": [run("a", 12)], "b": [run("b", 15)]}, GROUPS, "a")
    result = {"task": told(SLOTS), "runs": runs, "groups": GROUPS, "baseline": "a"}
    expected = lines(result), notes(result), over(result)
    for own in runs.values():
        del own["seeds"]
        own.pop("shared", None)
    assert (lines(result), notes(result), over(result)) == expected

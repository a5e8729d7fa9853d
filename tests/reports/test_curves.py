"""What is drawn of a log, and the figures beside it."""

import math

import numpy as np
import pytest
from browser import Reader
from reports_help import history

from midalign.reports import curves
from midalign.reports.runs import find_all

NAN = math.nan


def test_a_running_mean_takes_a_twentieth_of_all_values_and_keeps_gaps():
    values = np.arange(100.0)
    assert curves.smoothed(values)[50] == 50 and curves.smoothed(values)[0] == 1  # the mean of 0, 1 and 2
    values[50] = 1000
    assert curves.smoothed(values)[50] == pytest.approx((48 + 49 + 1000 + 51 + 52) / 5)
    values[50] = NAN
    smooth = curves.smoothed(values)
    assert math.isnan(smooth[50]) and smooth[51] == pytest.approx((49 + 51 + 52 + 53) / 4)
    assert np.isnan(curves.smoothed(np.full(60, NAN))).all()


def test_a_spike_leaves_the_means_beyond_its_neighbours_alone():
    values = np.full(200, 1.0)
    values[20] = 1e17
    assert curves.smoothed(values)[100:].tolist() == [1.0] * 100


def test_a_long_line_keeps_the_lowest_and_highest_of_every_stretch():
    steps, values = np.arange(10_000.0), np.sin(np.arange(10_000.0))
    values[5_000], values[7_000], values[2_000:2_100] = 40, -40, NAN
    few, thin = curves.thinned(steps, values)
    assert len(few) <= curves.DRAWN and np.nanmax(thin) == 40 and np.nanmin(thin) == -40 and np.isnan(thin).any()
    assert (np.diff(few) > 0).all() and (values[few.astype(int)] == thin)[~np.isnan(thin)].all()
    assert (
        curves.thinned(steps[:400], values[:400])[0] is not steps
        and len(curves.thinned(steps[:400], values[:400])[0]) == 400
    )


def test_figures_say_first_lowest_highest_last_and_what_is_not_finite():
    found = curves.figures(np.array([5.0, 10, 15, 20, 25]), np.array([2.0, NAN, 0.5, 3.0, math.inf]))
    assert found["first"] == (2, 5) and found["lowest"] == (0.5, 15) and found["highest"] == found["last"] == (3, 20)
    assert found["count"] == 5 and found["odd"] == {"count": 2, "step": 10}
    assert curves.figures(np.array([1.0]), np.array([NAN])) == {
        **dict.fromkeys(("first", "lowest", "highest", "last")),
        **{"count": 1, "odd": {"count": 1, "step": 1}},
    }


def test_every_quantity_of_a_run_has_its_group_and_picture(write_run):
    more = {
        **{
            "loss": 3.0,
            "loss/align": 1.0,
            "loss/task/intents": 2.0,
            "align/retrieval_at_1": 0.5,
            "learning_rate": 1e-5,
        },
        **{"eval_task": 1.0, "eval_retrieval_at_1_de": 0.1, "eval_retrieval_at_1_sw": 0.2, "eval_runtime": 3.0},
        **{"diag/retrieval_at_1/de": 0.3, "diag/effective_rank": 9.0, "diag/grad_cosine": -0.1, "num_tokens": 9.0},
        **{"mine": 1.0, "task/tokens_saved": 0.5, "eval_samples_per_second": 9.0},
    }
    runs = find_all([write_run("a", history(3, **more)), write_run("b", history(4))])
    groups, undrawn = curves.panels(runs)
    assert undrawn == 0
    assert {title: [panel.key for panel in of] for title, of in groups} == {
        "Losses": ["loss/task", "loss", "loss/align", "loss/task/intents"],
        "Alignment": ["align/retrieval_at_1"],
        "Held out": ["eval_task"],
        "Held out: retrieval@1 of each language": ["eval_retrieval_at_1_de", "eval_retrieval_at_1_sw"],
        "Diagnostics": ["diag/effective_rank", "diag/grad_cosine"],
        "Diagnostics: retrieval@1 of each language": ["diag/retrieval_at_1/de"],
        "Optimizer": ["grad_norm", "learning_rate"],
        "What else was logged": ["mine"],
    }
    both, alone = groups[0][1][0], groups[0][1][1]
    assert [line["run"] for line in both.lines] == ["a", "b"] and [line["run"] for line in alone.lines] == ["a"]
    assert alone.told == "the sum that is trained"
    read = Reader(both.svg)
    assert read.tags[0][1]["aria-label"].startswith("loss/task over the steps of a, b")
    assert "#7b7b7b" in both.svg and "#c06a00" in both.svg and "stroke-dasharray" in both.svg  # not by colour alone


def test_many_values_are_drawn_thin_and_their_mean_thick(write_run):
    few, many = (
        next(panel for _, of in curves.panels(find_all([run]))[0] for panel in of if panel.key == "grad_norm")
        for run in (write_run(str(steps), history(steps)) for steps in (curves.MANY - 1, curves.MANY))
    )
    assert few.svg.count("stroke: #7b7b7b") == 1 and many.svg.count("stroke: #7b7b7b") == 2


def test_a_line_that_falls_far_has_the_scale_of_a_logarithm(write_run):
    log = [{"step": step, "loss": 100.0 if step == 1 else 1.0, "zero": 100.0 * (step == 1)} for step in range(1, 9)]
    groups, _ = curves.panels(find_all([write_run("a", log)]))
    told = {panel.key: panel.told for _, of in groups for panel in of}
    assert told["loss"].endswith("log scale") and told["zero"] == ""


def test_values_without_a_finite_one_and_a_single_step_make_a_picture(write_run):
    log = [{"step": 0, "loss": NAN, "grad_norm": math.inf, "mine": -1e30, "loss/task": 1e30}]
    groups, _ = curves.panels(find_all([write_run("a", log)]))
    assert sum(len(of) for _, of in groups) == 4
    assert all(Reader(panel.svg).open == [] for _, of in groups for panel in of)


def test_of_very_many_quantities_the_rest_is_counted(write_run, monkeypatch):
    monkeypatch.setattr(curves, "MOST", 5)
    log = [{"step": step, **{f"mine {i}": float(step) for i in range(12)}} for step in (1, 2)]
    groups, undrawn = curves.panels(find_all([write_run("a", log)]))
    assert sum(len(of) for _, of in groups) == 5 and undrawn == 7


@pytest.mark.parametrize(("steps", "shown"), [(100, "100"), (101, "10")])
def test_runs_of_very_different_lengths_share_the_scale_of_a_logarithm(write_run, steps, shown):
    log = [{"step": 0, "mine": 1.0}, {"step": steps, "mine": 2.0}]
    groups, _ = curves.panels(find_all([write_run("short", history(5)), write_run("long", log)]))
    svg = next(panel.svg for _, of in groups for panel in of if panel.key == "mine")
    assert (">60<" in svg) == (shown == "100") and (">10<" in svg) == (shown == "10") and ">0<" in svg

"""All figures of all layers, the recommendation, and what is kept of them."""

import csv
import io
import math

import numpy as np
import pytest
import torch

from midalign.alignment.losses import similarity
from midalign.analysis.layers import OF_PAIR, measure
from midalign.analysis.recommendation import correlation, recommend
from midalign.analysis.results import HEAD, as_csv, lines_of, of_scores, summary
from midalign.analysis.sides import Side


def side(language, *rows):
    return Side(language, torch.tensor(rows), torch.arange(len(rows)))


@pytest.fixture(scope="module")
def two():
    """Two layers of two languages and the pivot, six sentences each: strangers at layer 0, near at layer 1."""
    generator = torch.Generator().manual_seed(0)
    meaning, noise = torch.randn(6, 8, generator=generator), torch.randn(2, 3, 6, 8, generator=generator)
    states = torch.stack([noise[0], meaning + 0.4 * noise[1]]).flatten(1, 2)  # (2, 18, 8)
    sides = [side("de", *range(6)), side("en", *range(6, 12)), side("es", *range(12, 18))]
    return states, sides, [(0, 1), (2, 1)]


def test_figures_are_those_of_each_layer_and_pair(two):
    states, sides, couples = two
    measured = measure(*two)
    for layer in range(2):
        for place, (i, j) in enumerate(couples):
            scores = similarity(states[layer, sides[i].rows], states[layer, sides[j].rows]).numpy()
            figures = dict(zip(OF_PAIR, measured.pairs[layer, place], strict=True))
            assert figures["cosine"] == (scores.argmax(axis=1) == np.arange(6)).mean()
            assert figures["cosine_back"] == (scores.argmax(axis=0) == np.arange(6)).mean()
            assert figures["cosine_of_pairs"] == pytest.approx(np.diag(scores).mean(), abs=1e-6)
    assert measured.languages == ["de", "en", "es"]
    one = summary(measured, sides, couples, without="en")
    assert one["curves"]["retrieval_at_1"][0] < 0.5 < one["curves"]["retrieval_at_1"][1]
    assert one["curves"]["cka"][0] < 0.5 < one["curves"]["cka"][1]
    assert set(one["languages"]) == {"de", "es"}


def test_what_units_add_is_the_mean_over_pairs_and_ways(two):
    measured = measure(*two)
    expected = measured.pairs[:, :, :2].mean(axis=(1, 2))
    assert measured.right.sum(axis=1) / measured.asked.sum() == pytest.approx(expected)
    assert measured.asked.sum() == pytest.approx(1)


def test_a_pair_with_few_sentences_weighs_as_much_as_one_with_many(two):
    states, sides, _ = two
    sides = [sides[0], sides[1], side("es", 12, 13), side("en", 6, 7)]
    measured = measure(states, sides, [(0, 1), (2, 3)])
    expected = measured.pairs[:, :, :2].mean(axis=(1, 2))
    assert measured.right.sum(axis=1) / measured.asked.sum() == pytest.approx(expected)
    assert np.isnan(measured.pairs[:, 1, -1]).all()  # two sentences have no unbiased CKA
    curves = summary(measured, sides, [(0, 1), (2, 3)])["curves"]
    assert curves["cka"] == [pytest.approx(value, abs=1e-6) for value in measured.pairs[:, 0, -1]]


def test_a_figure_that_nothing_has_is_none(two):
    states, *_ = two
    few = [side("de", 0, 1), side("en", 6, 7)]
    found = summary(measure(states, few, [(0, 1)]), few, [(0, 1)], without="en")
    assert found["curves"]["cka"] == [None, None] and found["languages"]["de"]["cka"] == [None, None]


def test_the_table_has_both_ways_of_every_pair(two):
    measured = measure(*two)
    rows = list(csv.DictReader(io.StringIO(as_csv(lines_of("a,b", "mean", measured, *two[1:])))))
    assert len(rows) == 2 * 2 * 2 and tuple(rows[0]) == HEAD
    assert [(row["source"], row["target"]) for row in rows[:2]] == [("de", "en"), ("en", "de")]
    assert float(rows[1]["retrieval_at_1"]) == pytest.approx(measured.pairs[0, 0, 1], abs=1e-6)
    assert rows[0]["model"] == "a,b" and rows[0]["mexa"] == rows[1]["mexa"]


def recommended(*found):
    """found: for each layer the places of 40 sentences that find their translation there."""
    right = np.array([[float(i in places) for i in range(40)] for places in found]) / 40
    return recommend(right, np.full(40, 1 / 40), chance=1 / 40)


def test_the_layer_with_most_retrieval_is_recommended_but_never_the_first_or_last_state():
    best = recommended(range(40), range(5), range(30), range(10), range(40))
    assert (best["layer"], best["of_layers"]) == (2, 4)
    assert best["retrieval_at_1"] == pytest.approx(0.75) and best["best_in"] == 1 and best["as_good"] == []
    low, high = best["interval"]
    assert 0.55 < low < 0.65 and 0.85 < high < 0.92  # 0.75 -+ 1.96 sqrt(0.75 * 0.25 / 40) = 0.62 to 0.88


def test_layers_that_find_nearly_the_same_sentences_cannot_be_told_apart():
    best = recommended([], range(20), range(21), range(1), [])
    assert best["layer"] == 2 and best["as_good"] == [1]
    assert 0.5 < best["best_in"] < 0.75  # the one sentence is in 1 - (39/40)^40 = 0.64 of the draws


def test_few_sentences_give_a_layer_and_no_interval():
    best = recommend(np.array([[0, 0], [0.5, 0], [0.5, 0.5], [0, 0]]), np.array([0.5, 0.5]), chance=0.5)
    assert best["layer"] == 2 and best["interval"] is None and best["best_in"] is None and best["as_good"] is None


def test_a_model_of_one_layer_has_nothing_to_recommend():
    assert recommend(np.ones((2, 40)) / 40, np.full(40, 1 / 40), chance=0) is None


def test_correlation_is_that_of_numpy_with_fishers_interval():
    x = {"de": 0.1, "es": 0.4, "tr": 0.35, "sw": 0.8, "cy": 0.2, "xx": 9}
    y = {"de": 12, "es": 30, "tr": 41, "sw": 44, "cy": 3, "yy": 9}
    shared = sorted(x.keys() & y.keys())
    found = correlation(x, y)
    r = np.corrcoef([x[one] for one in shared], [y[one] for one in shared])[0, 1]
    assert found["r"] == pytest.approx(r) and found["languages"] == shared
    assert math.atanh(found["interval"][1]) - math.atanh(r) == pytest.approx(1.96 / math.sqrt(2), abs=1e-3)
    assert math.atanh(r) - math.atanh(found["interval"][0]) == pytest.approx(1.96 / math.sqrt(2), abs=1e-3)


@pytest.mark.parametrize(
    ("x", "y"), [({"a": 1, "b": 2}, {"a": 1, "b": 2}), (dict.fromkeys("abcd", 1), dict(a=1, b=2, c=3, d=4)), ({}, {})]
)
def test_too_few_languages_or_figures_that_do_not_vary_have_no_correlation(x, y):
    assert correlation(x, y)["r"] is None


def test_three_languages_have_a_correlation_and_no_interval():
    found = correlation({"a": 1, "b": 2, "c": 3}, {"a": 2, "b": 4, "c": 6})
    assert found["r"] == pytest.approx(1) and found["interval"] is None


def test_scores_of_languages_with_labels_and_of_the_pivot_are_no_transfer():
    scores = {
        "task": {"shown": {"f1": "slot F1", "slots": "slot found"}},
        "groups": {"en-US": "never aligned", "de-DE": "supervised", "sw-KE": "aligned", "zh-TW": "never aligned"},
        "runs": {
            "a": {"languages": {name: {"f1": i / 10} for i, name in enumerate(("en-US", "de-DE", "sw-KE", "zh-TW"))}}
        },
    }
    assert of_scores(scores, "en") == ({"a": {"sw": 0.2, "zh-Hant": 0.3}}, "slot F1")
    scores["task"]["shown"] = {"f1": "slot\x1b[31m F1"}
    assert of_scores(scores, "en")[1] == r"'slot\x1b[31m F1'"  # which a terminal shows and does not obey
    scores["runs"]["a"]["languages"]["sw-KE"]["f1"] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        of_scores(scores, "en")

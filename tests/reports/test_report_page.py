"""The page of `midalign report` and the verb that writes it."""

import copy
import json
import math
import os
import re

import pytest
from browser import Reader, asked_and_said, hidden, in_chromium
from reports_help import RECORD, history

from midalign.analysis.results import TITLES
from midalign.evaluation.report import write_report
from midalign.tasks.slots.task import Slots

NASTY = '</pre><script>alert("1")</script>&<b>\x1b[31m'


def record(scores=None, engine="single", **recipe):
    found = copy.deepcopy(RECORD) | {"engine": engine}
    found["recipe"] |= recipe
    return found if scores is None else found | {"scores": scores}


@pytest.fixture
def page(midalign, tmp_path):
    """page(*arguments) -> what `midalign report` writes."""

    def write(*arguments):
        code, out, err = midalign("report", *arguments, "-o", tmp_path / "page.html")
        assert (code, err) == (0, "") and "page.html shows" in out
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    return write


def text_of(page):
    """What a reader reads, cells apart."""
    cells_apart = re.sub(r"(</(t[dh]|d[dt]|li)>)", r" \1", page)
    return " ".join(Reader(cells_apart).text.partition("Skip to the figures")[2].split())


def test_one_run_has_curves_scores_and_its_record(page, write_run):
    said = text_of(page(write_run("mine", history(), RECORD)))
    assert "mine: step 5 of 5; model some/model; task slots; align_layer 9; seed 1; 1.5 minutes" in said
    assert "loss/task" in said and "2 at step 1" in said and "0.4 at step 5" in said
    assert "slots: scored at the end of training" in said and "90.0 (no interval)" in said and "25.0" in said
    assert "packages torch 2.13.0" in said and "data task_sha256 abc" in said and "engine single" in said
    assert "What differs" not in said and "(not there)" not in said


def test_of_two_runs_only_what_differs_is_set_side_by_side(page, write_run):
    first = write_run("a", history(), record(seed=1, output_dir="a", mine=None))
    second = write_run("b", history(), record(seed=2, output_dir="b", engine="ddp", align_languages=["de", "sw"]))
    text = page(first, second)
    said = text_of(text)
    differs = said[said.index("What differs between the recipes") : said.index("Curves")]
    assert "3 keys" in differs and "seed 1 a 2 b" in differs and "output_dir" not in differs
    assert "align_languages (not there) a de, sw b" in differs and "mine none a (not there) b" in differs
    assert "learning_rate" not in differs
    assert "engine single a ddp b" in said and "task_sha256 abc" in said
    assert text.count("en-US <small>") == 1  # with a line for each run


def test_runs_of_one_recipe_say_so(page, write_run):
    said = text_of(page(*(write_run(name, history(), record(output_dir=name)) for name in "ab")))
    assert "Nothing: all runs have one recipe." in said


def test_runs_of_different_tasks_have_scores_of_their_own(page, write_run):
    other = record(scores={"en-US": {"accuracy": 0.5}}, task="intents")
    other["tasks"] = [{"name": "intents", "shown": {"accuracy": "accuracy"}}]
    both = record(scores={"slots": RECORD["scores"], "intents": {"en-US": {"accuracy": 0.125}}})
    both["tasks"] = [*RECORD["tasks"], *other["tasks"]]
    runs = [write_run("s", history(), RECORD), write_run("i", history(), other), write_run("both", history(), both)]
    said = text_of(page(*runs))
    slots, intents = said.split("slots: scored at the end of training")[1].split("intents: scored at the end")
    assert slots.count("90.0") == 2 and "50.0 (no interval)" in intents and "12.5 (no interval)" in intents


def test_a_log_without_a_record_and_a_record_without_a_log_are_shown(page, write_run):
    said = text_of(page(write_run("log", history())))
    assert "No run.json lies beside the log." in said and "loss/task" in said
    said = text_of(page(write_run("record", None, RECORD)))
    assert "record: no log; model some/model" in said and "has no log yet" in said and "Nothing was logged." in said
    assert "90.0" in said


def test_what_is_not_finite_is_said_where_it_is_drawn(page, write_run):
    log = [*history(3), {"step": 4, "loss/task": math.nan}, {"step": 5, "loss/task": math.nan}]
    assert "a: 2 of 5 values are not finite, the first at step 4." in text_of(page(write_run("a", log)))


ODD = (
    *(
        5,
        [],
        "x",
        {"recipe": []},
        {"recipe": {"a": {"b": [1, {"c": None}]}}},
        {"seconds": "x"},
        {"seconds": 10**400},
        {"scores": [1]},
    ),
    {"scores": {"en": 1}, "tasks": 7},
    {"scores": [1], "tasks": [{}]},
    {"tasks": [{"name": "t", "shown": {"f": "F"}}], "scores": {"en": {"f": "<b>"}}},
    {"tasks": [{"name": "t", "shown": {}}], "scores": {"en": {"f": 1}}},
)


@pytest.mark.parametrize("odd", ODD)
def test_a_record_of_any_shape_leaves_a_page(page, write_run, odd):
    assert "loss/task" in text_of(page(write_run("a", history(), odd)))


def test_a_record_that_is_nested_without_end_is_passed_over_and_said(page, write_run):
    folder = write_run("a", history())
    for text in ('{"a":' * 900 + "1" + "}" * 900, '{"a":' + "[" * 900 + "]" * 900 + "}"):
        (folder / "run.json").write_text(text)
        said = text_of(page(folder))
        assert "a record that is nested over 20 times; passed over" in said and "loss/task" in said


def test_text_of_others_stays_text(page, write_run):
    hostile = record(**{NASTY: NASTY, "model_name_or_path": NASTY, "long": "x" * 5_000, "number": 10**400})
    hostile |= {NASTY: {NASTY: [NASTY]}, "scores": {NASTY: {"f1": 0.5, "found": 0.5}}}
    hostile["tasks"] = [{"name": NASTY, "shown": {"f1": NASTY, "found": "\ud800"}}]
    log = history(3, **{NASTY: 1.0, "\ud800": 1.0, "loss/task/$x_1$": 1.0})
    text = page(write_run("<b>run & 'co'", log, hostile), write_run("plain", history(), RECORD))
    read = Reader(text)
    assert read.open == [] and not {"script", "b"} & {tag for tag, _ in read.tags}
    assert "\x1b" not in text and "\\x1b[31m" in text and "<b>run & 'co'" in read.text and "$x_1$" in read.text
    assert "(5,000 letters)" in read.text


def test_secrets_stay_masked(page, write_run):
    text = page(write_run("a", history(), record(mine="hf_abcdefghijkl", there="https://me:word@host/x")))
    assert "hf_abcd" not in text and "me:word" not in text and "HUB_TOKEN" in text


def test_the_page_loads_nothing_has_no_script_and_every_picture_has_words(page, write_run):
    text = page(write_run("a", history(60), RECORD), write_run("b", history(60), RECORD))
    read = Reader(text)
    for tag, attributes in read.tags:
        assert not {"src", "onclick", "onload"} & attributes.keys() and tag not in ("script", "link", "img")
        assert attributes.get("href", "#").startswith("#")
    policies = [attributes["content"] for _, attributes in read.tags if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    pictures = [attributes for tag, attributes in read.tags if tag == "svg"]
    assert len(pictures) > 4 and all(own.get("aria-label") or own["aria-hidden"] == "true" for own in pictures)
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = {attributes["aria-labelledby"] for _, attributes in read.tags if "aria-labelledby" in attributes}
    assert labelled <= set(ids)
    roles = {"table": "table", "thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "td": "cell"}
    assert all(attributes.get("role") == roles[tag] for tag, attributes in read.tags if tag in roles)


def test_equal_runs_have_equal_pages(page, write_run):
    folder = write_run("a", history(60), RECORD)
    assert page(folder) == page(folder)


@pytest.fixture
def evaluate(tmp_path):
    """evaluate(folder, {run: answers in tr-TR}) -> a folder with what `midalign evaluate` writes about 40 rows."""

    def write(name, answers, source="demo"):
        rows = {"tr-TR": [{"id": str(i), "locale": "tr-TR", "utt": "x", "annot_utt": "[time : x]"} for i in range(40)]}
        of_runs = {run: {"tr-TR": some} for run, some in answers.items()}
        (tmp_path / name).mkdir()
        data = {"data": {"source": source, "partition": "validation"}}
        write_report(Slots("slots"), tmp_path / name, rows, of_runs, {"tr-TR": "aligned"}, next(iter(answers)), data)
        return tmp_path / name

    return write


def test_scores_of_evaluate_have_their_intervals_and_gains(page, write_run, evaluate):
    half, all_ = ["time: x", "time: y"] * 20, ["time: x"] * 40
    scores = evaluate("e", {"a": half, "b": all_})
    text = page(write_run("b", history()), "--scores", scores)
    said = text_of(text)
    assert "slots: validation rows of the embedded demo corpus, scored by midalign evaluate" in said
    assert "tr-TR 40 rows a 50.0 (3" in said and "+50.0" in said and "Gains are over a." in said
    assert "width:100.0%;background:#7b7b7b" in text  # the colour of b's curves
    assert text_of(page(write_run("b", history()), "--scores", scores / "scores.json")) == said


def test_scores_of_the_same_rows_stand_in_one_table_and_others_apart(page, write_run, evaluate):
    one, two = evaluate("1", {"a": ["time: x"] * 40}), evaluate("2", {"b": ["time: y"] * 40})
    other = evaluate("3", {"a": ["time: y"] * 40})  # another run of the same name
    elsewhere = evaluate("4", {"c": ["time: y"] * 40}, source="my/rows")
    given = [word for folder in (one, two, other, elsewhere) for word in ("--scores", folder)]
    said = text_of(page(write_run("a", history()), *given))
    first, second, third = said.split("scored by midalign evaluate")[1:]
    assert "tr-TR 40 rows a 100.0 (no interval) 100.0 b 0.0" in first and "Gains" not in first
    assert "a 0.0" in second and "my/rows" in second and "c 0.0" in third


def broken(scores, *keys, value=None):
    """The text of scores.json with one value inside changed."""
    result = json.loads((scores / "scores.json").read_text())
    inner = result
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return json.dumps(result)


@pytest.mark.parametrize("content", ["{}", "[1", '{"scores": {}, "key": "x"}', '{"runs": {}, "baseline": 1}', None,
    ("task", "shown"), ("runs", "b", "languages", "tr-TR", "f1"), ("runs", "b", "groups", "aligned", "p_holm"),
    ("runs", "b", "languages", "tr-TR", "gain"), ("record", "data"), ("groups",)])  # fmt: skip
def test_scores_of_others_are_one_sentence(midalign, write_run, tmp_path, content, evaluate):
    file = tmp_path / "scores.json"
    if isinstance(content, tuple):
        content = broken(evaluate("e", {"a": ["time: x"] * 40, "b": ["time: y"] * 40}), *content)
    if content is not None:
        file.write_text(content)
    code, _, err = midalign("report", write_run("a", history()), "--scores", file, "-o", tmp_path / "page.html")
    assert code == 2 and err.startswith("error: --scores ") and err.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def layers(models, sentences=9):
    """What `midalign layers` writes of models with their retrieval@1 at layers 0 to 2."""
    found = {}
    for name, curve in models.items():
        figures = dict.fromkeys(TITLES, curve)
        of_language = {key: own for key, own in figures.items() if key != "language_share"}
        best = {"layer": 1, "retrieval_at_1": curve[1], "chance": 0.01, "of_layers": 2, "interval": None}
        found[name] = {"layers": 2, "poolings": {"mean": {"curves": figures, "languages": {"de": of_language}}}}
        found[name]["recommendation"] = best
    record = {"pairs": {"sha256": "abc"}, "pooling": {"names": ["mean"], "skip_first": False}}
    asked = {"pivot": "en", "directions": "pivot", "sentences": {"de": sentences}}
    return json.dumps({**asked, "models": found, "record": record})


def test_layers_before_and_after_stand_in_one_picture_where_their_sentences_are_the_same(page, write_run, tmp_path):
    for name, text in {
        "before": layers({"base": [0.0, 0.125, 0.0]}),
        "after": layers({"base": [0.0, 0.125, 0.0], NASTY: [0.0, 0.75, 0.5]}),
        "other": layers({"base": [0.0, 0.25, 0.0]}, sentences=10),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "layers.json").write_text(text)
    given = [word for name in ("before", "after", "other") for word in ("--layers", tmp_path / name)]
    text = page(write_run("a", history()), *given)
    said = text_of(text)
    both, alone = said.split("Layers of base")[1:]
    assert "There 12.5 % of the sentences" in both and "There 75.0 % of the sentences" in both
    assert "There 25.0 %" in alone and "75.0" not in alone
    ids = [attributes["id"] for _, attributes in Reader(text).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) and "<script" not in text


@pytest.mark.parametrize(
    "text", ["{}", "[]", layers({}), layers({"a": [0.0, 0.5]}), layers({"a": ["x", 0.5, 0.5]}), "["]
)
def test_layers_of_others_are_one_sentence(midalign, write_run, tmp_path, text):
    (tmp_path / "layers.json").write_text(text)
    code, _, err = midalign("report", write_run("a", history()), "--layers", tmp_path, "-o", tmp_path / "page.html")
    assert code == 2 and "layers.json is not what `midalign layers` writes; name its layers.json or folder." in err


def test_files_of_others_are_never_written_over(midalign, write_run, tmp_path, evaluate):
    run, mine = write_run("a", history()), tmp_path / "mine.html"
    mine.write_text("<p>my own page")
    os.mkfifo(tmp_path / "pipe")
    for output in (
        mine,
        tmp_path,
        tmp_path / "pipe",
        run / "trainer_state.json",
        evaluate("e", {"a": ["x"] * 40}) / "report.html",
    ):
        before = output.read_bytes() if output.is_file() else None
        code, _, err = midalign("report", run, "-o", output)
        assert code == 2 and "would be written over, and is no page of `midalign report`" in err
        assert before is None or output.read_bytes() == before
    assert midalign("report", run, "-o", tmp_path / "new" / "page.html")[0] == 0
    assert midalign("report", run, "-o", tmp_path / "new" / "page.html")[0] == 0  # our own page may be
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_one_sentence(midalign, write_run, tmp_path):
    run = write_run("a", history())
    (tmp_path / "file").write_text("x")
    code, _, err = midalign("report", run, "-o", tmp_path / "file" / "page.html")
    assert code == 2 and "name another --output" in err and err.count("\n") == 1


@pytest.fixture
def full(page, write_run, evaluate, tmp_path):
    """A page with everything, some of it long."""
    more = {f"eval_retrieval_at_1_{code}": 0.1 for code in "af cy de el es ja jv ru sw tl tr".split()}
    long = "a-run-with-a-name-that-is-longer-than-a-phone-is-wide-in-any-font"
    scores = evaluate("e", {long: ["time: x", "time: y"] * 20, "b": ["time: x"] * 40})
    runs = [
        write_run(long, history(200, **more), record(seed=1, path="/with" * 40)),
        write_run("b", [*history(20), {"step": 21, "loss/task": math.nan, "x" * 90: 1.0}], record(seed=2)),
    ]
    (tmp_path / "layers.json").write_text(layers({long: [0.0, 0.5, 0.25], "b": [0.0, 0.25, 0.0]}))
    page(*runs, "--scores", scores, "--layers", tmp_path)
    return tmp_path / "page.html"


@pytest.mark.slow
@in_chromium
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_fits_a_phone_and_a_desk(full, width):
    full.write_text(full.read_text(encoding="utf-8").replace("<details>", "<details open>"), encoding="utf-8")
    assert hidden(full, width) == ""


@pytest.mark.slow
@in_chromium
def test_a_browser_asks_for_nothing_else_and_says_nothing(full, tmp_path):
    asked, said = asked_and_said(full.read_text(encoding="utf-8"), tmp_path / "page.png")
    assert asked == ["http://page.example/page.html"] and said == []
    assert (tmp_path / "page.png").stat().st_size > 10_000

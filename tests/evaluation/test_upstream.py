"""The folder for lm-evaluation-harness: it stands alone, its files say what midalign says, and its figures are ours."""

import ast
import copy
import functools
import sys
from pathlib import Path

import datasets
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval import evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from midalign.data.templates import fit
from midalign.demo import corpus
from midalign.tasks.slots import massive, scoring
from midalign.tasks.slots.task import Slots

ROOT = Path(__file__).parents[2]
UPSTREAM = ROOT / "upstream" / "massive_slots"
INSTALLED = ROOT / "src" / "midalign" / "evaluation" / "lm_tasks" / "massive_slots"
UNSPACED = ("ja-JP", "km-KH", "my-MM", "th-TH", "zh-CN", "zh-TW")
FIGURES = ("f1", "name_f1", "precision", "recall", "exact_match")


def expected_files():
    """{name: text} of what follows from MASSIVE's locales; None for what does not."""
    files = dict.fromkeys(("README.md", "utils.py", "_massive_slots_template_yaml"))
    files["_massive_slots.yaml"] = (INSTALLED / "_massive_slots.yaml").read_text()
    for locale in massive.LOCALES:
        lines = ["include: _massive_slots_template_yaml", f"task: massive_slots_{locale}", f"task_alias: {locale}"]
        lines += [f"dataset_name: {locale}"]
        if locale in UNSPACED:
            lines += ["process_results: !function utils.process_results_without_spaces"]
        files[f"massive_slots_{locale}.yaml"] = "\n".join(lines) + "\n"
    return files


def test_there_is_a_file_for_every_locale_and_no_other():
    expected = expected_files()
    assert {path.name for path in UPSTREAM.iterdir() if path.name != "__pycache__"} == expected.keys()
    for name, text in expected.items():
        assert text in (None, (UPSTREAM / name).read_text()), name


def test_the_group_is_the_unweighted_mean_over_all_locales():
    group = yaml.safe_load((UPSTREAM / "_massive_slots.yaml").read_text())
    assert group["task"] == [f"massive_slots_{locale}" for locale in massive.LOCALES]
    means = [{"metric": name, "aggregation": "mean", "weight_by_size": False} for name in FIGURES]
    assert group["aggregate_metric_list"] == means


def test_it_imports_the_standard_library_alone():
    (file,) = UPSTREAM.glob("*.py")
    tree = ast.parse(file.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names and names <= sys.stdlib_module_names
    for path in UPSTREAM.glob("*yaml"):
        assert "midalign" not in path.read_text()


HUB = datasets.Features(
    {
        "id": datasets.Value("string"),
        "locale": datasets.ClassLabel(names=list(massive.LOCALES)),  # a number in a row, as on the hub
        "utt": datasets.Value("string"),
        "annot_utt": datasets.Value("string"),
    }
)


def row(annot_utt, locale):
    utt = " ".join(words for _, words in massive.segments(annot_utt))
    return {"id": annot_utt, "locale": locale, "utt": utt, "annot_utt": annot_utt}


SAID = {  # annotation: an answer; one hit, one spurious and two missed slots, and the date was found
    "wake me at [time : nine]": "time: nine",
    "stop": "None",
    "meet on [date : friday]": "date: monday",
    "call [person : mom]": "",
}


def from_hub(path, name, revision):
    """In place of the hub: some rows of the demo corpus, and those of SAID for the other locales."""
    assert (path, revision) == ("AmazonScience/massive", "refs/convert/parquet")
    rows = corpus.rows(name, "test")[:40] if name in corpus.DEMO_LOCALES else [row(one, name) for one in SAID]
    table = datasets.Dataset.from_list([{key: row[key] for key in HUB} for row in rows], features=HUB)
    return datasets.DatasetDict(dict.fromkeys(("train", "validation", "test"), table))


@pytest.fixture(scope="module")
def manager():
    """The harness's own reader of tasks, in front of this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load_dataset", from_hub)
        yield TaskManager(include_path=str(UPSTREAM.parent), include_defaults=False)


@pytest.fixture(scope="module")
def tasks(manager):
    """tasks(locale) -> its task."""
    return functools.cache(lambda locale: manager.load([name := f"massive_slots_{locale}"])["tasks"][name])


def test_a_chat_asks_what_midalign_asks_in_the_user_turn(tasks, tokenizer):
    tokenizer = copy.deepcopy(tokenizer)  # which all tests share
    fit(tokenizer, system="user")
    write = functools.partial(tokenizer.apply_chat_template, tokenize=False)
    task = tasks("tr-TR")
    for doc in task.test_docs():
        asked = task.fewshot_context(doc, 0, apply_chat_template=True, chat_template=write, fewshot_as_multiturn=True)
        assert asked == write(Slots().prompt(doc), add_generation_prompt=True)


def test_a_plain_prompt_shows_examples_as_they_are_to_be_answered(tasks):
    task = tasks("de-DE")
    task.set_fewshot_seed(1)
    doc, asked = task.test_docs()[0], f"{massive.INSTRUCTION}\n\n"
    assert task.fewshot_context(doc, 0) == asked + doc["utt"]
    prompt = task.fewshot_context(doc, 1)
    shots = [f"{asked}{one['utt']}\n{massive.target(one['annot_utt'])}\n\n" for one in task.training_docs()]
    assert prompt.removesuffix(asked + doc["utt"]) in shots
    assert task.config.generation_kwargs == {"until": ["\n\n"], "max_gen_toks": 128, "do_sample": False}


class Known(LM):
    """Says what is known of the last line of a prompt."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def generate_until(self, requests):
        return [self.answers[request.args[0].splitlines()[-1]] for request in requests]

    loglikelihood = loglikelihood_rolling = None


def test_the_harness_reports_the_figures_worked_out_by_hand(manager):
    model = Known({row(annotation, "af-ZA")["utt"]: answer for annotation, answer in SAID.items()})
    done = evaluate(model, manager.load(["massive_slots_af-ZA"]), log_samples=False)
    found = {name: done["results"]["massive_slots_af-ZA"][f"{name},none"] for name in FIGURES}
    shares = {"f1": 2 / 5, "name_f1": 4 / 5, "precision": 1 / 2, "recall": 1 / 3, "exact_match": 1 / 2}
    assert found == pytest.approx(shares)


def assert_same_figures(tasks, locale, rows, answers):
    task = tasks(locale)
    found = [task.process_results(doc, [answer]) for doc, answer in zip(rows, answers, strict=True)]
    figures = {name: of([own[name] for own in found]) for name, of in task.aggregation().items()}
    ours = scoring.score(rows, answers)
    assert figures.keys() == set(FIGURES)
    assert figures == pytest.approx({name: ours[name] for name in FIGURES}, abs=1e-12, rel=0)


@pytest.mark.parametrize("locale", corpus.DEMO_LOCALES)
def test_figures_of_the_demo_corpus_are_those_of_the_scorer(tasks, locale):
    rows = corpus.rows(locale, "test")[:50]
    right = [massive.target(row["annot_utt"]) for row in rows]
    task = tasks(locale)
    assert [task.doc_to_target(row) for row in rows] == right
    for answers in (right, right[1:] + right[:1], ["None"] * len(rows)):
        assert_same_figures(tasks, locale, rows, answers)


WORDS = st.text(st.sampled_from("ab 午時;\\:é\u0301e\u3000\u037e\t"), max_size=6)
PAIRS = st.lists(st.tuples(st.sampled_from(["time", "date", "person"]), WORDS), max_size=3)
ANNOTATED = PAIRS.map(lambda pairs: [pair for pair in pairs if pair[1].strip()])
PIECES = ["time: ", "; ", "\\;", "None", "none", "<think>", "</think>", "[/THINK]", "other: b", "\n", " ", *"ab午:;\\?"]
RAW = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@st.composite
def scored(draw):
    """(annotated pairs, an answer) of one row: its own slots, those of another, or any text."""
    pairs = draw(ANNOTATED)
    written = st.one_of(st.just(pairs), st.permutations(pairs), ANNOTATED).map(massive.write_target)
    return pairs, draw(st.one_of(written, st.tuples(RAW, written, RAW).map("".join), RAW, st.text(st.characters())))


@given(st.sampled_from(["en-US", "tr-TR", *UNSPACED]), st.lists(scored(), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_figures_of_any_answers_are_those_of_the_scorer(tasks, locale, cases):
    rows = [{"locale": locale, "annot_utt": " ".join(f"[{s} : {w}]" for s, w in pairs)} for pairs, _ in cases]
    assert_same_figures(tasks, locale, rows, [answer for _, answer in cases])


@pytest.mark.parametrize(
    ("locale", "annotation", "answer", "f1", "exact"),
    [
        ("ja-JP", "[time : 午前 九時]", "time: 午前九時", 1, 1),
        ("zh-TW", "[time : 午前九時]", "time: 午 前 九時", 1, 1),
        ("th-TH", "[time : ก ข]", "time: กข", 1, 1),
        ("en-US", "[time : nine am]", "time: nineam", 0, 0),
        ("en-US", "[list_name : a;b\\c]", r"list_name: a\;b\\c", 1, 1),
        ("en-US", "[list_name : a;b]", "list_name: a;b", 0, 0),
        ("en-US", "[time : 5 : 30]", "<think>time: 4</think>\ntime: 5:  30", 1, 1),
        ("de-DE", "[place_name : mu\u0308nchen]", "place_name: m\u00fcnchen", 1, 1),
        ("en-US", "[time : Nine]", "time: nine", 0, 0),
        ("en-US", "[time : \uff19]", "time: 9", 0, 0),  # a wide 9 is another letter to NFC
        ("en-US", "stop", "NONE", 1, 1),
        ("en-US", "stop", "", 1, 0),
        ("en-US", "stop", "!!!", 1, 0),
        ("en-US", "stop", "<think> None", 1, 0),
        ("en-US", "[time : nine]", "<think> x; time: nine", 0, 0),  # no end, so no answer yet
        ("en-US", "[time : nine]", "time: ten\n </think> time: nine", 1, 1),
        ("en-US", "[time : nine]", "time: nine; so </think>", 1, 1),  # not on a line of its own: no thought
        ("en-US", "[date : x] [date : x]", "date: x", 2 / 3, 0),
    ],
)
def test_one_answer_has_the_figures_worked_out_by_hand(tasks, locale, annotation, answer, f1, exact):
    one = {"locale": locale, "annot_utt": annotation}
    found = tasks(locale).process_results(one, [answer])
    assert (tasks(locale).aggregation()["f1"]([found["f1"]]), found["exact_match"]) == (pytest.approx(f1), exact)
    assert_same_figures(tasks, locale, [one], [answer])

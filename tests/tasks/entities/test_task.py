"""Named entities as a task: JSONL and hub rows, prompts, and scores worked out by hand."""

import json

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

from midalign.data.checks import Sieve
from midalign.data.reading import task_rows, texts_of_tests
from midalign.errors import InputError
from midalign.evaluation.transfer import group_of
from midalign.tasks import find_task
from midalign.tasks.entities import treebanks
from midalign.tasks.entities.prompts import PROMPTS
from midalign.tasks.entities.task import Entities
from midalign.texts import comparable

TASK = find_task("entities")
TEN = {"ceb": 49, "da": 447, "en": 1088, "hr": 1403, "pt": 1215, "sk": 915, "sr": 847, "sv": 196, "tl": 23, "zh": 767}


def row(*tagged, locale="en", text=None):
    tokens, tags = (list(own) for own in zip(*tagged, strict=True))
    return {"locale": locale, "treebank": None, "text": text or " ".join(tokens), "tokens": tokens, "tags": tags}


RIO = row(("Anna", "B-PER"), ("in", "O"), ("Rio", "B-LOC"), ("or", "O"), ("Rio", "B-LOC"))
NOTHING = row(("it", "O"), ("rains", "O"))


def counts(own, **found):
    """(tp, fp, fn) of an answer with these lists, by name of the figure."""
    answer = json.dumps({"PER": [], "LOC": [], "ORG": [], **found})
    return {name: tuple(map(int, value)) for name, value in TASK.counts(own, answer).items()}


def test_the_right_answer_is_right_in_every_figure():
    assert TASK.gold(RIO) == '{"PER": ["Anna"], "LOC": ["Rio", "Rio"], "ORG": []}'
    assert counts(RIO, PER=["Anna"], LOC=["Rio", "Rio"]) == {
        "f1": (3, 0, 0),
        "found": (3, 0, 0),
        "precision": (3, 0, 0),
        "recall": (3, 0, 0),
        "exact_match": (1, 1),
        "valid_json": (1, 1),
    }


def test_an_empty_answer_misses_all_and_is_right_where_nothing_is_to_be_found():
    assert counts(RIO)["f1"] == (0, 0, 3) and counts(RIO)["exact_match"] == (0, 1)
    assert counts(NOTHING)["f1"] == (0, 0, 0) and counts(NOTHING)["exact_match"] == (1, 1)
    assert counts(NOTHING, PER=["it"])["f1"] == (0, 1, 0)


def test_an_entity_that_appears_twice_is_to_be_answered_twice_and_not_three_times():
    assert counts(RIO, LOC=["Rio"])["f1"] == (1, 0, 2)
    assert counts(RIO, LOC=["Rio", "Rio", "Rio"])["f1"] == (2, 1, 1)
    assert counts(RIO, PER=["Anna", "Anna"], LOC=["Rio", "Rio"])["f1"] == (3, 1, 0)


def test_answers_that_overlap_are_compared_each_by_itself():
    york = row(("New", "B-LOC"), ("York", "I-LOC"))
    assert counts(york, LOC=["New York", "York"])["f1"] == (1, 1, 0)
    assert counts(york, LOC=["New", "York"])["f1"] == (0, 2, 1)
    assert counts(york, LOC=["New York"], ORG=["New York"])["f1"] == (1, 1, 0)


def test_the_right_words_of_the_wrong_type_are_found_but_no_hit():
    own = counts(RIO, ORG=["Anna"], LOC=["Rio", "Rio"])
    assert (own["f1"], own["found"]) == ((2, 1, 1), (3, 0, 0))
    other = TASK.counts(RIO, '{"PER": [], "LOC": ["Rio"], "ORG": [], "MISC": ["Anna"]}')
    assert (other["f1"], other["found"]) == ((1, 1, 2), (2, 0, 1))


def test_case_counts_and_so_do_blanks_but_where_none_are_written():
    assert counts(RIO, PER=["anna"], LOC=["RIO", "rio"])["f1"] == (0, 3, 3)
    lee = row(("Anna", "B-PER"), ("Lee", "I-PER"))
    assert counts(lee, PER=[" Anna \n Lee"])["f1"] == (1, 0, 0)
    assert counts(lee, PER=["AnnaLee"])["f1"] == (0, 1, 1)
    for locale in ("zh", "zh_gsd", "zh-Hant"):
        chinese = row(("人文", "B-LOC"), ("大樓", "I-LOC"), locale=locale, text="人文大樓")
        assert counts(chinese, LOC=["人文 大樓"])["f1"] == (1, 0, 0)
    assert counts(row(("Bør\u0308", "B-PER")), PER=["Bør\u0308"])["f1"] == (1, 0, 0)
    assert counts(row(("Zen\u00f3n", "B-PER")), PER=["Zeno\u0301n"])["f1"] == (1, 0, 0)


@pytest.mark.parametrize(
    ("locale", "without"),
    [("zh", True), ("zho", True), ("cmn-Hant", True), ("zh_gsd", True), ("zh_CN", True), ("jpn", True), ("tha", True),
     ("lao", True), ("yue", True), ("jav", False), ("jv", False), ("zha", False), ("jam", False), ("tl_trg", False)],
)  # fmt: skip
def test_a_language_without_spaces_is_known_by_any_of_its_names(locale, without):
    row = {"text": "北京 市", "tokens": ["北京", "市"], "tags": ["B-LOC", "I-LOC"], "locale": locale, "treebank": None}
    assert TASK.right(row, '{"PER": [], "LOC": ["北京市"], "ORG": []}') == without
    assert treebanks.joined(locale, ["北京", "市"]) == ("北京市" if without else "北京 市")


def test_broken_json_scores_as_what_it_says_and_is_counted_as_mended():
    broken = "```json\n{'PER': ['Anna'], 'LOC': ['Rio', 'Rio',], 'ORG': []}\n```"
    own = TASK.counts(RIO, broken)
    assert (own["f1"], own["exact_match"], own["valid_json"]) == ((3, 0, 0), (True, 1), (False, 1))
    report = TASK.report([RIO, RIO, NOTHING, NOTHING], [broken, TASK.gold(RIO), "none", '{"PER": []}'])
    assert report["mended"] == {"code fence": 1, "comma": 1, "quotes": 1, "type missing": 1}
    assert (report["malformed"], report["valid_json"], report["f1"]) == (1, 0.25, 1.0)
    assert report["exact_match"] == 0.75  # "none" is no answer


def test_a_report_has_micro_figures_and_those_of_each_type():
    report = TASK.report([RIO, NOTHING], ['{"PER": ["Rio"], "LOC": ["Rio"], "ORG": ["UN"]}', TASK.gold(NOTHING)])
    # 1 hit, 2 spurious, 2 missed
    assert (report["precision"], report["recall"], report["f1"]) == (pytest.approx(1 / 3),) * 3
    assert report["found"] == pytest.approx(4 / 6)  # both Rio; UN is spurious, Anna missed
    assert (report["rows"], report["exact_match"]) == (2, 0.5)
    assert report["per_type"] == {
        "LOC": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2},
        "ORG": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
        "PER": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    }


TAGS = st.sampled_from(["O", *(f"{begins}-{kind}" for begins in "BI" for kind in ("PER", "LOC", "ORG"))])


@settings(max_examples=30)
@given(st.lists(st.lists(st.tuples(TAGS, TAGS), min_size=1), min_size=1))
def test_figures_are_those_of_seqeval_on_the_tags_where_no_word_appears_twice(sentences):
    gold, said = ([[pair[which] for pair in own] for own in sentences] for which in (0, 1))
    rows, answers = ([row(*((f"t{i}", tag) for i, tag in enumerate(own))) for own in tags] for tags in (gold, said))
    report = TASK.report(rows, [TASK.gold(own) for own in answers])
    expected = precision_recall_fscore_support(gold, said, average="micro", zero_division=0)[:3]
    if any(tag != "O" for tags in gold + said for tag in tags):  # else 0/0, which is 1 for us
        assert [report[name] for name in ("precision", "recall", "f1")] == pytest.approx(expected)


def test_the_counts_of_rows_add_up_to_the_report():
    rows = [RIO, NOTHING, RIO]
    answers = ['{"PER": ["Rio"], "LOC": ["Rio"]}', "[]", TASK.gold(RIO)]
    report = TASK.report(rows, answers)
    for name, (_, share) in TASK.figures.items():
        sums = sum(np.array(TASK.counts(*one)[name], float) for one in zip(rows, answers, strict=True))
        assert share(sums) == pytest.approx(report[name])


@pytest.mark.parametrize("language", TEN)
def test_perfect_predictions_score_one_in_every_treebank(language, published):
    rows = task_rows(TASK, str(published), language, "test", None)
    report = TASK.report(rows, [TASK.gold(row) for row in rows])
    assert {report[name] for name in TASK.figures} == {1.0}
    for own in rows:
        text = " ".join(own["text"].split())
        assert all(words in text for found in json.loads(TASK.gold(own)).values() for words in found)
    begins = [tag for row in rows for tag in row["tags"] if tag.startswith("B-") and tag != "B-OTH"]
    orphans = {"da": 1}.get(language, 0)  # an I-PER behind an O
    assert TEN[language] == sum(own["support"] for own in report["per_type"].values()) == len(begins) + orphans


def test_training_sentences_that_are_test_sentences_are_seen(published):
    texts = texts_of_tests(TASK, str(published), "en", None, Sieve())
    rows = task_rows(TASK, str(published), "en", "train", None)
    assert sum(comparable(row["text"]) in texts for row in rows) == 294


def test_the_prompt_is_in_the_language_of_the_row_and_in_english_for_others():
    for locale, language in {"hr": "hr", "sr": "sr", "sr-Latn": "sr-Latn", "zh_gsd": "zh-Hant", "fr": "en"}.items():
        system, user = TASK.prompt(row(("a", "O"), locale=locale))
        assert (system["content"], user["content"]) == (PROMPTS[language], "a")
    assert TASK.prompt({**RIO, "locale": "zh", "treebank": "zh_gsd"})[0]["content"] == PROMPTS["zh-Hant"]
    assert len(set(PROMPTS.values())) == len(PROMPTS)
    for text in PROMPTS.values():
        assert "JSON" in text and all(f"({kind})" in text and f'"{kind}"' in text for kind in ("PER", "LOC", "ORG"))


def test_an_instruction_of_ones_own_is_asked_in_every_language():
    own = Entities("entities", "List the names.")
    assert own.prompt(row(("a", "O"), locale="hr"))[0]["content"] == "List the names."
    assert own.depends_on() != TASK.depends_on()


def write(folder, *rows, language="de"):
    path = folder / language / "test.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(own) + "\n" for own in rows), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("tags", ["tags", "ner_tags"])
def test_rows_of_jsonl_have_tokens_tags_and_perhaps_a_text(tags, tmp_path):
    al = {"tokens": ["al", "-", "Ani"], tags: ["B-PER", "I-PER", "I-PER"]}
    rows = task_rows(TASK, write(tmp_path, al, {**al, "text": "al-Ani", "id": "7"}), "de", "test", None)
    assert [(own["id"], own["text"]) for own in rows] == [("de 0", "al - Ani"), ("7", "al-Ani")]
    assert [json.loads(TASK.gold(own))["PER"] for own in rows] == [["al - Ani"], ["al-Ani"]]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"tokens": ["a"], "tags": [1]}, "line 1 needs .* two lists of text; write tags by their names, such as B-PER"),
        ({"tokens": ["a"]}, 'needs "tokens" and "ner_tags"'),
        ({"text": "a"}, 'needs "tokens" and "ner_tags"'),
        ({"tokens": "a", "tags": "O"}, 'has no text in "text"'),
        ({"tokens": "a", "tags": "O", "text": "a"}, 'needs "tokens" and "ner_tags"'),
        ({"tokens": ["a", None], "tags": ["O", "O"], "text": "a"}, 'needs "tokens" and "ner_tags"'),
        ({"tokens": ["a", "b"], "tags": ["O"]}, "has 2 tokens and 1 tags; give every token one tag"),
        ({"tokens": [], "tags": [], "text": "a"}, "has 0 tokens and 0 tags"),
        ({"tokens": [], "tags": []}, 'has no text in "text"'),
        ({"tokens": ["a"], "tags": ["B-DATE"]}, "has tag 'B-DATE'"),
        (["a"], "is no object"),
    ],
)
def test_a_bad_row_of_jsonl_is_one_sentence(record, expected, tmp_path):
    with pytest.raises(InputError, match=expected):
        task_rows(TASK, write(tmp_path, record), "de", "test", None)


def hub(monkeypatch, rows, names=("O", "B-PER", "I-PER")):
    """A hub that has one data set; returns what was asked of it."""
    kind = datasets.List(datasets.ClassLabel(names=list(names)))
    features = datasets.Features(
        {key: kind if key == "ner_tags" else datasets.List(datasets.Value("string")) if key == "tokens" else
         datasets.Value("string") for key in rows[0]}
    )  # fmt: skip
    asked = []

    def load(*arguments, **_):
        asked.append(arguments)
        return {"test": datasets.Dataset.from_list(rows, features=features)}

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def test_the_hub_s_class_labels_are_read_as_names(monkeypatch):
    asked = hub(monkeypatch, [{"idx": "n1", "text": "al-Ani", "tokens": ["al", "-", "Ani"], "ner_tags": [1, 2, 2]}])
    for language, treebank, name in (
        ("tl_trg", "tl_trg", "tl_trg n1"),
        ("de", "de_pud", "n1"),
        ("sr", "sr_set", "sr_set n1"),
    ):
        (own,) = task_rows(TASK, TASK.source, language, "test", "main")
        assert (own["locale"], own["treebank"], own["id"]) == (language, treebank, name)
        assert own["tags"] == ["B-PER", "I-PER", "I-PER"] and TASK.gold(own).startswith('{"PER": ["al-Ani"]')
        assert asked.pop() == (TASK.source, treebank)
    with pytest.raises(InputError, match="locale en could be en_ewt or en_pud of universalner/universal_ner"):
        task_rows(TASK, TASK.source, "en", "test", "main")


def test_a_hub_set_of_others_is_asked_for_the_language_as_it_is(monkeypatch):
    asked = hub(monkeypatch, [{"tokens": ["Al"], "ner_tags": [1]}])
    (own,) = task_rows(TASK, "some/ner", "en", "test", "main")
    assert (own["locale"], own["id"], own["text"]) == ("en", "en 0", "Al")
    (other,) = task_rows(TASK, "some/ner", "en_mine", "test", "main")
    assert (other["locale"], other["treebank"], other["id"]) == ("en_mine", "en_mine", "en_mine en 0")
    assert asked == [("some/ner", "en"), ("some/ner", "en_mine")]


def test_languages_are_tags_or_treebanks_and_the_demo_has_no_entities():
    assert [TASK.language(name, "x") for name in ("pt", "pt-BR", "pt_bosque")] == ["pt", "pt-BR", "pt_bosque"]
    with pytest.raises(InputError, match="use a BCP 47 tag"):
        TASK.language("Portuguese", "x")
    with pytest.raises(InputError, match="task_data demo has no entities"):
        task_rows(TASK, "demo", "en-US", "test", None)


@pytest.mark.parametrize(("name", "group"), [
    ("en", "supervised"), ("en-GB", "supervised"), ("en_pud", "supervised"), ("tl_trg", "aligned"), ("fil", "aligned"),
    ("zh_gsd", "never aligned"), ("zh_gsdsimp", "aligned"), ("sr_set", "never aligned"), ("da", "never aligned"),
])  # fmt: skip
def test_a_language_is_supervised_whichever_of_its_treebanks_had_labels(name, group):
    assert group_of(TASK, name, ["en_ewt"], {"tl", "zh", "sr"}) == group


def test_the_command_line_scores_answers_to_a_treebank(midalign, write_treebank, tmp_path):
    folder = write_treebank("hr_set", "test", [[("Anna", "B-PER")], [("a", "O")], [("Rio", "B-LOC"), ("UN", "B-ORG")]])
    file = tmp_path / "answers.txt"
    file.write_text('{"PER": ["Anna"], "LOC": [], "ORG": []}\n{"PER": []}\n[{"type": "LOC", "text": "UN"}]\n')
    code, out, err = midalign("score", file, "--task", "entities", "--data", folder, "--locale", "hr", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["f1"], report["found"], report["malformed"]) == (0.4, 0.8, 0)  # 2 / (2 + 1 + 2), 4 / (4 + 1)
    assert report["mended"] == {"nested": 1, "no object": 1, "type missing": 1}
    code, out, _ = midalign("score", file, "--task", "entities", "--data", folder, "--locale", "hr")
    assert code == 0 and "valid_json" in out and "33.33 %" in out
    code, _, err = midalign("score", file, "--task", "entities", "--data", folder, "--locale", "de")
    assert (code, "has no treebank of de; use any of hr_set." in err) == (2, True)

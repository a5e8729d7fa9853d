"""`midalign layers` from its command line, on a small random model."""

import copy
import csv
import json
import re

import pytest
from browser import Reader, asked_and_said, hidden, in_chromium
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from midalign import pages
from midalign.analysis import page

LETTERS = {
    "de": "hund katze maus pferd kuh ziege",
    "tr": "köpek kedi fare at inek keçi",
    "en": "dog cat mouse horse cow goat",
}
WORDS = {language: text.split() for language, text in LETTERS.items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory, make_model, tokenizer):
    folder = tmp_path_factory.mktemp("models") / "small<b>"
    make_model(3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(model, make_model):
    folder = model.parent / "adapted"
    tuned = get_peft_model(make_model(3), LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False))
    tuned.peft_config["default"].base_model_name_or_path = str(model)
    tuned.save_pretrained(folder)
    return folder


def write_pairs(path, languages=("de", "tr"), count=6):
    lines = [
        {"source": WORDS[language][i], "target": WORDS["en"][i], "source_lang": language, "target_lang": "en"}
        for language in languages
        for i in range(count)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs.jsonl")


def test_the_embedded_model_and_pairs_need_nothing_else(midalign, tmp_path):
    code, out, err = midalign("layers", "demo", "--pairs", "demo", "--sentences", 40, "-o", tmp_path / "layers")
    assert code == 0, err
    assert "demo: align_layer: " in out and "retrieval@1, cosine" in out
    result = json.loads((tmp_path / "layers" / "layers.json").read_text())
    assert result["sentences"] == dict.fromkeys(("de", "el", "es", "ru", "tr"), 40)
    assert list(result["models"]["demo"]["poolings"]) == ["mean", "weighted", "last"]
    assert len(result["models"]["demo"]["poolings"]["mean"]["curves"]["mexa"]) == 5
    rows = list(csv.DictReader((tmp_path / "layers" / "layers.csv").open()))
    assert len(rows) == 3 * 5 * 5 * 2  # poolings, states, pairs, ways
    assert "Where languages meet" in (tmp_path / "layers" / "layers.html").read_text(encoding="utf-8")


def test_a_model_before_and_after_an_adapter_comes_in_one_picture(midalign, model, adapter, pairs, tmp_path):
    found = {}
    for name, arguments in {"its own": (adapter,), "told": (model, "--adapter", adapter)}.items():
        code, _, err = midalign("layers", *arguments, "--pairs", pairs, "--pooling", "last,mean", "-o", tmp_path / name)
        assert code == 0, err
        found[name] = json.loads((tmp_path / name / "layers.json").read_text())
    assert list(found["told"]["models"]) == ["small<b>", "adapted"]
    assert found["told"]["models"] == found["its own"]["models"]
    before, after = (found["told"]["models"][name]["poolings"]["last"]["curves"] for name in ("small<b>", "adapted"))
    assert before["cosine_of_pairs"][0] == after["cosine_of_pairs"][0]  # embeddings have no adapter
    assert before["cosine_of_pairs"][3] != after["cosine_of_pairs"][3]
    code, _, _ = midalign("layers", adapter, "--no-base", "--pairs", pairs, "-o", tmp_path / "alone")
    assert code == 0 and list(json.loads((tmp_path / "alone" / "layers.json").read_text())["models"]) == ["adapted"]


def test_all_directions_are_each_language_with_every_other(midalign, model, pairs, tmp_path):
    code, _, err = midalign("layers", model, "--pairs", pairs, "--directions", "all", "-o", tmp_path / "out")
    assert code == 0, err
    rows = list(csv.DictReader((tmp_path / "out" / "layers.csv").open()))
    assert {(row["source"], row["target"]) for row in rows} == {(a, b) for a in WORDS for b in WORDS if a != b}
    assert set(
        json.loads((tmp_path / "out" / "layers.json").read_text())["models"]["small<b>"]["poolings"]["mean"][
            "languages"
        ]
    ) == set(WORDS)


def test_scores_of_the_same_model_give_a_correlation(midalign, model, tmp_path):
    pairs, scores = write_pairs(tmp_path / "p.jsonl"), tmp_path / "scores.json"
    told = {
        "task": {"shown": {"f1": "slot F1"}},
        "groups": {"de-DE": "aligned", "tr-TR": "never aligned", "fr-FR": "aligned"},
        "runs": {model.name: {"languages": {name: {"f1": 0.5} for name in ("de-DE", "tr-TR", "fr-FR")}}},
    }
    scores.write_text(json.dumps(told))
    code, out, err = midalign("layers", model, "--pairs", pairs, "--scores", scores, "-o", tmp_path / "out")
    assert code == 0, err
    assert "Too few languages have both retrieval and slot F1" in " ".join(out.split())
    told["runs"] = {"other": told["runs"][model.name]}
    scores.write_text(json.dumps(told))
    code, _, err = midalign("layers", model, "--pairs", pairs, "--scores", scores, "-o", tmp_path / "out")
    assert code == 2 and "has scores of other, and none of small<b>" in err


def test_a_sentence_that_is_too_long_goes_in_all_languages_and_is_named(midalign, model, pairs, tmp_path, caplog):
    with pairs.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"source": "x" * 90, "target": "long", "source_lang": "de", "target_lang": "en"}) + "\n")
        file.write(json.dumps({"source": "uzun", "target": "long", "source_lang": "tr", "target_lang": "en"}) + "\n")
    code, _, err = midalign("layers", model, "--pairs", pairs, "--max-length", 50, "-o", tmp_path / "out")
    assert code == 0, err
    assert "1 sentence(s) left out" in caplog.text and "90 tokens, but --max-length is 50" in caplog.text
    result = json.loads((tmp_path / "out" / "layers.json").read_text())
    assert result["sentences"] == {"de": 6, "tr": 6} and result["record"]["pairs"]["left_out"] == 1


MISTAKES = {
    "no such file": (["--pairs", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
    "no such language": (["--pairs", "PAIRS", "--language", "de,sw"], "--pairs has no pairs of sw, only of de, tr"),
    "no language at all": (["--pairs", "PAIRS", "--language", "German"], "German is no language"),
    "one sentence": (["--pairs", "ONE"], "language de has 1 usable sentence(s) in --pairs"),
    "nothing left": (["--pairs", "PAIRS", "--max-length", "1"], "language de has 0 usable sentence(s)"),
    "other pivot": (["--pairs", "PAIRS", "--pivot", "fr"], "exactly one side must be fr"),
    "unknown pooling": (["--pairs", "PAIRS", "--pooling", "max"], "--pooling max; use mean, last, weighted, bos"),
    "scores of somebody else": (["--pairs", "PAIRS", "--scores", "PAIRS"], "is not what `midalign evaluate` writes"),
    "scores that are not there": (["--pairs", "PAIRS", "--scores", "no.json"], "no.json: No such file"),
    "an adapter that is none": (["--pairs", "PAIRS", "--adapter", "MODEL"], "has no adapter_config.json"),
    "the pivot alone": (["--pairs", "PAIRS", "--language", "en"], "--language names en alone"),
    "a file as folder": (["--pairs", "PAIRS", "-o", "EMPTY"], "empty.jsonl is no folder"),
    "a folder in a file": (["--pairs", "PAIRS", "-o", "empty.jsonl/x"], "empty.jsonl is no folder"),
    "empty file": (["--pairs", "EMPTY"], "--pairs has no pair"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_sentence(midalign, model, pairs, tmp_path, mistake, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    places = {"PAIRS": pairs, "MODEL": model, "EMPTY": tmp_path / "empty.jsonl"}
    places["ONE"] = write_pairs(tmp_path / "one.jsonl", count=1)
    arguments, said = MISTAKES[mistake]
    code, _, err = midalign("layers", model, *(places.get(one, one) for one in arguments))
    assert code == 2 and said in err and "Traceback" not in err
    assert not (tmp_path / "data").exists()


def test_an_architecture_without_layers_is_refused_by_name(midalign, tokenizer, pairs, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path / "gpt2"
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    code, _, err = midalign("layers", folder, "--pairs", pairs, "-o", tmp_path / "out")
    assert code == 2 and "GPT2Model has no `layers` and `norm`" in err


def test_any_tokenizer_will_do_that_can_read_the_pairs(midalign, make_model, tokenizer, pairs, tmp_path):
    for name, template, pad in (("no-pad", None, None), ("no-chats", "{% for", "<|pad|>")):
        own = copy.deepcopy(tokenizer)
        own.pad_token, own.eos_token, own.chat_template = pad, None, template
        make_model(2).save_pretrained(tmp_path / name)
        own.save_pretrained(tmp_path / name)
        code, _, err = midalign("layers", tmp_path / name, "--pairs", pairs, "-o", tmp_path / f"{name}-out")
        assert code == 0, err
    words = Tokenizer(WordLevel({"hund": 0, "dog": 1}))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path / "no-pad")
    code, _, err = midalign("layers", tmp_path / "no-pad", "--pairs", pairs, "-o", tmp_path / "out")
    assert code == 2 and "the tokenizer of no-pad cannot read the pairs: WordLevel error" in err


def test_a_file_of_somebody_else_is_not_written_over(midalign, model, pairs, tmp_path):
    (tmp_path / "layers.json").write_text('{"mine": 1}')
    code, _, err = midalign("layers", model, "--pairs", pairs, "-o", tmp_path)
    assert code == 2 and "would be written over" in err
    assert (tmp_path / "layers.json").read_text() == '{"mine": 1}'


NAMES = ['<script>alert("1")</script> & $x_1$', "_hidden\x1b[31m", "c"]


def result(names=NAMES, languages=("de", "sw", "zh-Hant")):
    """What layers.json may hold: models of different depth, a figure that is missing."""
    models = {}
    for number, name in enumerate(names):
        depth = 4 + number
        curve = [i / 10 for i in range(depth + 1)]
        of_language = {"retrieval_at_1": curve, "margin_at_1": curve, "mexa": curve, "cka": [None] * len(curve)}
        of_language |= dict.fromkeys(("cosine_of_pairs", "cosine_of_others", "effective_rank"), curve)
        own = {"curves": of_language | {"language_share": curve}, "languages": dict.fromkeys(languages, of_language)}
        best = {"layer": 2, "retrieval_at_1": 0.2, "chance": 0.01, "of_layers": depth, "interval": [0.1, 0.3]}
        models[name] = {"layers": depth, "poolings": {"mean": own, "last": own}}
        models[name]["recommendation"] = best | {"best_in": 0.9, "as_good": [3]}
    models[names[0]]["transfer"] = {"figure": "slot F1", "r": 0.5, "interval": [0.1, 0.8], "languages": ["de", "sw"]}
    if len(names) > 2:
        models[names[2]]["recommendation"] = None
    sentences = dict.fromkeys(languages, 9)
    return {"pivot": "en", "directions": "pivot", "sentences": sentences, "models": models, "record": {"a": "</pre>"}}


@pytest.fixture(scope="module")
def written():
    return page.html(result())


def test_names_are_escaped_and_the_page_loads_and_runs_nothing(written):
    reader = Reader(written)
    assert reader.open == []
    assert "script" not in {tag for tag, _ in reader.tags} and "\x1b" not in written
    assert '<script>alert("1")</script> & $x_1$' in reader.text and r"_hidden\x1b[31m" in reader.text
    for tag, attributes in reader.tags:
        assert not {"src", "onclick", "onload", "style-src"} & attributes.keys(), tag
        assert attributes.get("href", "#").startswith("#")
    policies = [attributes["content"] for _, attributes in reader.tags if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "http://" not in written.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_no_two_elements_have_one_id_and_all_that_is_used_is_there(written):
    ids = re.findall(r' id="([^"]+)"', written)
    assert len(ids) == len(set(ids))
    assert {*re.findall(r'href="#([^"]+)"', written), *re.findall(r"url\(#([^)]+)\)", written)} <= set(ids)


def test_the_page_says_the_layer_how_sure_and_how_it_goes_with_transfer(written):
    text = " ".join(re.sub("<[^>]+>", " ", written).split())
    assert "align_layer: 2 (of 4). There 20.0 % (10.0 to 30.0) of the sentences" in text
    assert "best layer in 90 % of 1,000 bootstrap samples of the sentences, and cannot be told from 3." in text
    assert "By last pooling it is layer 3 (30.0 %). Over 2 languages without labels, retrieval there" in text
    assert "there and slot F1 correlate by 0.50 (0.10 to 0.80)." in text
    assert "It has no layer between its first and its last state" in text
    assert "hardly more than chance" not in text


def test_little_retrieval_is_called_so():
    found = result(["a"])["models"]["a"]
    found["recommendation"] |= {"interval": [0.015, 0.3]}
    assert "hardly more than chance" in page.advice(found)
    found["recommendation"] |= {"interval": None, "best_in": None, "as_good": None}
    assert "too few sentences to say" in page.advice(found) and "hardly more" not in page.advice(found)


@pytest.mark.parametrize("number", range(6))
def test_models_have_a_colour_and_poolings_a_dash(number):
    colour = pages.COLOURS[(number + 1) % 6]
    assert pages.look(page.look(number, 0))[:2] == (colour, ())
    assert len({pages.look(page.look(number, pooling))[1] for pooling in range(4)}) == 4
    assert {pages.look(page.look(number, pooling))[0] for pooling in range(4)} == {colour}


@pytest.mark.slow
@in_chromium
@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_runs_over_on_a_phone_or_a_desk(tmp_path, width):
    file = tmp_path / "layers.html"
    file.write_text(page.html(result(["a-model-with-a-rather-long-name" * 3, "b"])), encoding="utf-8")
    assert hidden(file, width) == ""


@pytest.mark.slow
@in_chromium
def test_a_browser_asks_for_nothing_and_has_nothing_to_say(written, tmp_path):
    assert asked_and_said(written, tmp_path / "page.png") == (["http://page.example/page.html"], [])

"""Rows and pairs from files."""

import gzip
import hashlib
import json
from pathlib import Path

import datasets
import pytest
from pairs_help import as_pairs, tokenised
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from midalign.config import DataConfig
from midalign.data.checks import Sieve
from midalign.data.pairs import hold_out, of_languages, read_pairs
from midalign.data.reading import task_rows
from midalign.data.streams import load_pairs, load_task, sample, scored_texts, texts_beside
from midalign.errors import InputError
from midalign.tasks.chat.task import Chat
from midalign.tasks.entities.task import Entities
from midalign.tasks.slots.task import Slots
from midalign.tasks.sources import NoSplitError
from midalign.tasks.translation.task import Translation
from midalign.texts import comparable

MASSIVE = Path(__file__).parents[3] / "shared" / "data" / "slots"  # not part of this repository
ROW = {"id": "1", "locale": "de-DE", "partition": "test", "utt": "licht aus", "annot_utt": "[device_type : licht] aus"}
PAIR = {"id": "a", "source": "ja", "target": "yes", "source_lang": "de", "target_lang": "en"}


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_rows_come_from_one_file_per_partition(tmp_path):
    file = write(tmp_path / "de-DE" / "test.jsonl", ROW | {"worker_id": 3})
    assert task_rows(Slots(), str(tmp_path), "de-DE", "test", "main") == [ROW | {"place": f"{file} line 1"}]


def test_rows_come_from_one_file_per_locale_with_massives_name_for_validation(tmp_path):
    write(tmp_path / "de-DE.jsonl", ROW, ROW | {"id": "2", "partition": "dev"})
    assert [row["id"] for row in task_rows(Slots(), str(tmp_path), "de-DE", "validation", "main")] == ["2"]


def test_an_id_that_two_rows_have_is_refused(tmp_path):
    write(tmp_path / "de-DE" / "test.jsonl", ROW, ROW)
    with pytest.raises(InputError, match="line 2 has id 1, which an earlier row has too"):
        task_rows(Slots(), str(tmp_path), "de-DE", "test", "main")


@pytest.mark.parametrize("source", ["demo", "some/folder"])
def test_an_unknown_locale_is_refused_with_the_known_ones(source):
    with pytest.raises(InputError, match=r"locale xx-XX is not in .*en-US"):
        task_rows(Slots(), source, "xx-XX", "train", "main")


def test_a_folder_without_the_locale_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has neither .*test\.jsonl nor .*de-DE\.jsonl"):
        task_rows(Slots(), str(tmp_path), "de-DE", "test", "main")


def test_a_hub_data_set_that_cannot_be_read_is_refused():
    with pytest.raises(InputError, match="could not be read from the hub"):
        task_rows(Slots(), "nobody/nothing", "de-DE", "test", "main")


@pytest.mark.parametrize("name", ["x" * 5000, "/".join(["y" * 100] * 50), "a\0b"], ids=["long", "many parts", "NUL"])
def test_a_source_that_can_be_no_path_is_one_sentence(name):
    with pytest.raises(InputError, match="is no folder here"):
        task_rows(Slots(), name, "de-DE", "test", None)


def test_english_becomes_the_target_whichever_column_it_came_in(tmp_path):
    turned = {"id": "a", "source": "yes", "target": "ja", "source_lang": "en", "target_lang": "de"}
    file = write(tmp_path / "p.jsonl", turned)
    pair = {key: PAIR[key] for key in PAIR if key != "id"}
    assert list(read_pairs([str(file)])) == [pair | {"place": f"{file} line 1"}]


def test_a_folder_of_pairs_is_read_whole(tmp_path):
    write(tmp_path / "de.jsonl", PAIR)
    write(tmp_path / "tr.jsonl", PAIR | {"source_lang": "tr"})
    assert [pair["source_lang"] for pair in read_pairs([str(tmp_path)])] == ["de", "tr"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{broken"], "line 1 is not JSON"),
        ([PAIR, {**PAIR, "target": None}], 'line 2 has no text in "target"'),
        ([{**PAIR, "source": "  "}], 'line 1 has no text in "source"'),
        (["[1, 2]"], "line 1 is no object"),
        ([{**PAIR, "source_lang": 3}], 'line 1 has no text in "source_lang"'),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(lines, message, tmp_path):
    path = write(tmp_path / "p.jsonl", *lines)
    with pytest.raises(InputError, match=message) as error:
        read_pairs([str(path)])
    assert str(path) in str(error.value)


def test_missing_and_undecodable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_pairs([str(tmp_path / "absent.jsonl")])
    (tmp_path / "latin.jsonl").write_bytes(b"\xe4")
    with pytest.raises(InputError, match="line 1 has byte 0 that is not UTF-8"):
        read_pairs([str(tmp_path / "latin.jsonl")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no file ending in \.jsonl"):
        read_pairs([str(tmp_path / "empty")])


def test_a_language_without_pairs_is_refused():
    with pytest.raises(InputError, match="no pairs of language sw in align_data, only of de"):
        of_languages(as_pairs([PAIR]), ["de", "sw"])


def test_held_out_english_is_trained_on_in_no_language():
    pairs = [
        {**PAIR, "source": f"{language} {i}", "target": f"english {i}", "source_lang": language}
        for language in ("de", "sw")
        for i in range(20)
    ]
    training, held = map(list, hold_out(as_pairs(pairs), 5, ["de", "sw"]))
    assert len(held) == 10 and len(training) == 30
    assert not {pair["target"] for pair in held} & {pair["target"] for pair in training}
    assert (training, held) == tuple(map(list, hold_out(as_pairs(pairs), 5, ["de", "sw"])))


def test_holding_out_all_pairs_of_a_language_is_refused():
    with pytest.raises(InputError, match="align_eval_pairs=1 leaves none of the 1 pairs of de; lower it"):
        hold_out(as_pairs([PAIR]), 1, ["de"])


@pytest.mark.parametrize(("count", "held"), [(5, 4), (39, 4), (205, 20), (999, 99), (1100, 100)])
def test_a_tenth_of_the_trained_pairs_is_held_out_where_nothing_is_said_at_least_4_and_at_most_100(count, held):
    pairs = [{**PAIR, "source": f"de {i}", "target": f"english {i}"} for i in range(count)]
    assert list(map(len, hold_out(as_pairs(pairs), None, ["de"]))) == [count - held, held]
    assert list(map(len, hold_out(as_pairs(pairs), None, []))) == [max(count - 100, 0), min(count, 100)]


def test_a_tenth_that_leaves_nothing_is_refused_with_its_number():
    pairs = [{**PAIR, "source": f"de {i}", "target": f"english {i}"} for i in range(4)]
    with pytest.raises(InputError, match="align_eval_pairs=4 leaves none of the 4 pairs of de; add pairs"):
        hold_out(as_pairs(pairs), None, ["de"])


def test_pairs_that_all_have_one_english_side_are_told_so():
    pairs = [{**PAIR, "source": f"de {i}"} for i in range(20)]
    with pytest.raises(InputError, match="none of the 20 pairs of de; the others have a target that is held out"):
        hold_out(as_pairs(pairs), None, ["de"])


def test_a_sample_has_the_same_ids_in_every_locale_and_keeps_the_order():
    german = [{"id": str(i), "locale": "de-DE"} for i in range(50)]
    swahili = [{"id": str(i), "locale": "sw-KE"} for i in range(50)]
    ids = [row["id"] for row in sample(german, 7)]
    assert ids == [row["id"] for row in sample(swahili, 7)]
    assert ids == sorted(ids, key=int) and len(ids) == 7


def test_a_language_that_is_only_measured_needs_no_pairs_left():
    assert list(map(len, hold_out(as_pairs([PAIR]), 1, []))) == [0, 1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW | {"partition": "train"}, "has no row with partition test"),
        (ROW | {"locale": "sw-KE"}, "line 1 has locale sw-KE, but de-DE was asked for"),
        (ROW | {"annot_utt": "[device_type : licht aus"}, "line 1 has a bad annotation: annot_utt"),
    ],
)
def test_rows_that_cannot_be_learned_are_named(row, message, tmp_path):
    write(tmp_path / "de-DE" / "test.jsonl", row)
    with pytest.raises(InputError, match=message):
        task_rows(Slots(), str(tmp_path), "de-DE", "test", "main")


@pytest.mark.parametrize("languages", [("de", "fr"), ("en", "en")])
def test_a_pair_without_exactly_one_english_side_is_refused(languages, tmp_path):
    source, target = languages
    path = write(tmp_path / "p.jsonl", PAIR | {"source_lang": source, "target_lang": target})
    with pytest.raises(InputError, match=r"line 1 is a pair of .*exactly one side must be en"):
        read_pairs([str(path)])


def test_a_hub_data_set_without_massives_columns_is_refused(monkeypatch):
    table = datasets.Dataset.from_list([{"id": "1", "text": "x"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: {"test": table})
    with pytest.raises(InputError, match="has no column locale"):
        task_rows(Slots(), "some/data", "de-DE", "test", "main")


def test_a_hub_data_set_gives_the_rows_of_its_split(monkeypatch):
    table = datasets.Dataset.from_list([ROW | {"worker_id": "7"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: {"test": table})
    assert task_rows(Slots(), "some/data", "de-DE", "test", "main") == [
        ROW | {"place": "some/data, split test, row 0,"}
    ]


def as_file(kind, folder, rows, monkeypatch):
    """Rows as de-DE's test partition in one of the ways they can come; returns the source."""
    path = folder / "de-DE" / f"test.{kind}"
    path.parent.mkdir()
    if kind == "jsonl.gz":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    elif kind == "parquet":
        datasets.Dataset.from_list(rows).to_parquet(path)
    elif kind == "jsonl":
        write(path, *rows)
    else:
        table = datasets.Dataset.from_list(rows)
        monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: {"test": table})
        return "some/data"
    return str(folder)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "hub"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"utt": ""}, 'has no text in "utt"'),
        ({"utt": "a\0b"}, "has a NUL character"),
        ({"annot_utt": "[time : "}, "has a broken bracket"),
        ({"annot_utt": "[tiem : x]"}, "has slot tiem"),
        ({"id": "1"}, "has id 1, which an earlier row has too"),
    ],
)
def test_every_source_is_held_to_the_same_checks(kind, change, message, tmp_path, monkeypatch):
    source = as_file(kind, tmp_path, [ROW, ROW | {"id": "2"} | change], monkeypatch)
    if message is None:
        assert [row["utt"] for row in task_rows(Slots(), source, "de-DE", "test", "main")] == [ROW["utt"]] * 2
    else:
        with pytest.raises(InputError, match=message):
            task_rows(Slots(), source, "de-DE", "test", "main")


@pytest.mark.parametrize("name", ["p.jsonl.gz", "p.parquet"])
def test_pairs_come_compressed_or_as_parquet(name, tmp_path):
    if name.endswith("gz"):
        (tmp_path / name).write_bytes(gzip.compress(json.dumps(PAIR).encode()))
    else:
        datasets.Dataset.from_list([PAIR]).to_parquet(tmp_path / name)
    (pair,) = read_pairs([str(tmp_path)])
    assert pair["source"] == PAIR["source"] and name in pair["place"]


def test_a_split_that_the_hub_does_not_have_is_another_error_than_a_hub_that_does_not_answer(monkeypatch):
    def hub(answer):
        def load(*args, **kwargs):
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(datasets, "load_dataset", load)
        data = DataConfig(task_data="some/data", task_languages=["de-DE"])
        return scored_texts(Slots(), data, Sieve())

    table = datasets.Dataset.from_list([ROW])
    assert hub({"train": table}) == set()
    assert hub({"train": table, "test": table}) == {"lichtaus"}
    for error in (ConnectionError("reset"), ValueError('Unknown split "test"'), OSError("timed out")):
        with pytest.raises(InputError, match="could not be read from the hub"):
            hub(error)


@pytest.mark.parametrize("partition", ["train", "test", None, "validation"])
def test_all_rows_of_a_file_of_test_rows_are_kept_apart(partition, tmp_path):
    write(tmp_path / "de-DE" / "test.jsonl", ROW | {"partition": partition})
    data = DataConfig(task_data=str(tmp_path), task_languages=["de-DE"])
    assert scored_texts(Slots(), data, Sieve()) == {"lichtaus"}


def test_of_a_file_with_all_partitions_the_test_rows_are_kept_apart(tmp_path):
    rows = [ROW | {"partition": partition, "utt": partition} for partition in ("train", "dev", "test")]
    write(tmp_path / "de-DE.jsonl", *rows)
    data = DataConfig(task_data=str(tmp_path), task_languages=["de-DE"])
    assert scored_texts(Slots(), data, Sieve()) == {"test"}
    write(tmp_path / "de-DE.jsonl", *rows[:2])
    assert scored_texts(Slots(), data, Sieve()) == set()
    data.score_languages = ["sw-KE"]
    with pytest.raises(NoSplitError, match=r"has neither sw-KE/test\.jsonl"):
        scored_texts(Slots(), data, Sieve())


def test_a_pair_with_the_text_of_a_test_row_of_its_language_in_the_folder_is_left_out(tmp_path, tokenizer):
    write(tmp_path / "de-DE" / "train.jsonl", ROW | {"partition": "train"})
    write(tmp_path / "sw-KE" / "test.jsonl", ROW | {"locale": "sw-KE", "utt": "Zima  taa"})
    write(tmp_path / "en-US.jsonl", ROW | {"utt": "Lights"}, ROW | {"utt": "on", "partition": "train"})
    write(tmp_path / "tr-TR" / "test.jsonl", "{")  # of no pair: not looked at
    write(tmp_path / "cy" / "train.jsonl", ROW)
    (tmp_path / "LICENSE.md").write_text("none")
    pairs = [PAIR | {"source_lang": "sw", "source": f"neno {i}", "target": f"word {i}"} for i in range(8)]
    pairs += [PAIR | {"source_lang": "sw", "source": "zima taa"}, PAIR | {"source_lang": "sw", "target": "lights"}]
    pairs += [PAIR | {"source_lang": "cy", "source": f"gair {i}", "target": f"word {i}"} for i in range(8)]
    data = DataConfig(task_data=str(tmp_path), task_languages=["de-DE"], align_eval_pairs=2)
    data.align_data = [str(write(tmp_path / "pairs.jsonl", *pairs))]
    sieve = Sieve("skip")
    training, held = load_pairs(
        data, tokenizer, None, sieve, beside=lambda languages: texts_beside(Slots(), data, languages, sieve)
    )
    assert (len(training), len(held)) == (12, 4)
    assert [sentence.split("jsonl ")[1][:7] for sentence in sieve.left_out] == ["line 9 ", "line 10"]
    assert scored_texts(Slots(), data, Sieve()) == set()
    data.score_languages = ["sw-KE"]
    assert texts_beside(Slots(), data, {"sw", "en"}, sieve) == {"lights"}  # those of sw-KE are scored, so known


def test_what_a_folder_has_is_told_where_a_language_is_not_there(tmp_path):
    write(tmp_path / "de-DE" / "train.jsonl", ROW)
    write(tmp_path / "sw-KE.jsonl", ROW)
    with pytest.raises(NoSplitError, match=r"another locale, such as are there: de-DE, sw-KE\."):
        task_rows(Slots(), str(tmp_path), "en-US", "train", "main")


def test_a_file_in_place_of_the_folder_is_refused_with_where_to_put_it(tmp_path):
    file = write(tmp_path / "mine.jsonl", ROW)
    with pytest.raises(InputError, match=r"mine\.jsonl is a file; name a folder that has it as de-DE/train\.jsonl"):
        task_rows(Slots(), str(file), "de-DE", "train", "main")


def test_validation_may_be_called_so_in_rows(tmp_path):
    write(tmp_path / "de-DE.jsonl", ROW | {"partition": "validation"})
    assert [row["partition"] for row in task_rows(Slots(), str(tmp_path), "de-DE", "validation", "main")] == ["dev"]
    data = DataConfig(task_data=str(tmp_path), task_languages=["de-DE"])
    assert scored_texts(Slots(), data, Sieve()) == set()


def test_a_bad_row_that_is_read_twice_counts_once(tmp_path):
    write(tmp_path / "de-DE.jsonl", ROW, ROW | {"partition": "dev"}, "{", ROW | {"annot_utt": "["})
    sieve = Sieve("skip")
    for partition in ("test", "validation"):
        task_rows(Slots(), str(tmp_path), "de-DE", partition, "main", sieve)
    assert [sentence.split("jsonl ")[1][:6] for sentence in sieve.left_out] == ["line 3", "line 4"]


def test_tags_of_one_language_are_one_language_of_pairs(tmp_path):
    tags = ["de", "de-DE", "deu", "pt-BR", "zh-CN", "zh-Hant", "zh-TW"]
    pairs = [PAIR | {"source": f"satz {tag}", "source_lang": tag, "target_lang": "en-GB"} for tag in tags]
    found = read_pairs([str(write(tmp_path / "p.jsonl", *pairs))])
    assert [pair["source_lang"] for pair in found] == ["de", "de", "de", "pt", "zh", "zh-Hant", "zh-Hant"]
    assert {pair["target_lang"] for pair in found} == {"en"}


@pytest.mark.parametrize(("asked", "count"), [(["de"], 2), (["de-DE"], 2), (["deu", "de"], 2), (["pt-PT"], 1)])
def test_a_recipe_may_name_a_language_by_any_of_its_tags(asked, count, tmp_path, tokenizer):
    tags = ["de", "de-DE", "pt-BR"]
    pairs = [PAIR | {"source": f"satz {tag}", "target": tag, "source_lang": tag} for tag in tags * 4]
    pairs = [pair | {"target": f"{pair['target']} {i}", "source": f"{i}"} for i, pair in enumerate(pairs)]
    path = str(write(tmp_path / "p.jsonl", *pairs))
    data = DataConfig(align_data=[path], align_languages=asked, align_eval_pairs=2)
    training, held = load_pairs(data, tokenizer, None, Sieve())
    language = asked[0][:2]
    assert {*training["language"], *held["language"]} == {language}
    assert (len(training), len(held)) == (4 * count - 2, 2)


def test_a_held_out_sentence_is_trained_on_in_no_spelling():
    spellings = {"de": "Café at  NINE", "sw": "cafe\u0301 at nine", "tr": "Café at\u00a0Nine\u200b"}
    pairs = [{**PAIR, "source_lang": of, "target": text} for of, text in spellings.items()]
    pairs += [{**PAIR, "source_lang": of, "target": f"x {i}"} for of in spellings for i in range(5)]
    for count in range(1, 6):
        training, held = hold_out(as_pairs(pairs), count, [])
        assert not {comparable(p["target"]) for p in training} & {comparable(p["target"]) for p in held}
        assert len({comparable(p["target"]) for p in held}) < 6


def test_texts_in_their_normal_spelling_are_held_out_by_the_hash_that_they_always_had():
    pairs = [{**PAIR, "target": f"It is {i} o'clock."} for i in range(100)]
    texts = sorted((pair["target"] for pair in pairs), key=lambda text: hashlib.sha256(text.encode()).digest())
    assert [pair["target"] for pair in hold_out(as_pairs(pairs), 7, ["de"])[1]] == texts[:7]


def test_the_same_words_in_other_letters_are_the_same_candidate(tokenizer):
    texts = ["Guten Tag", "guten\u00a0tag", "gu\u200dten tag", "gute nacht"]
    pairs = [{"source": text, "target": str(i), "source_lang": "de", "place": ""} for i, text in enumerate(texts)]
    rows = tokenised(pairs, tokenizer)
    numbers = [row["source_text"] for row in rows]
    assert numbers[0] == numbers[1] == numbers[2] != numbers[3]
    assert tokenizer.decode(rows[1]["source"]) == texts[1]


def test_words_of_which_a_tokenizer_keeps_nothing_are_not_trained(tmp_path):
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate("ehilrtu")}, []))  # others are dropped
    dropping = PreTrainedTokenizerFast(tokenizer_object=backend)
    dropping.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    rows = [
        ROW | {"partition": "train", "id": str(i), "utt": utt, "annot_utt": annotation}
        for i, (utt, annotation) in enumerate([("licht", "licht"), ("zzz", "zzz"), ("licht zz", "licht [time : zz]")])
    ]
    write(tmp_path / "de-DE" / "train.jsonl", *rows)
    data = DataConfig(task_data=str(tmp_path), task_languages=["de-DE"])
    sieve = Sieve("skip")
    kept, _ = load_task(Slots(), data, dropping, None, False, sieve)
    assert len(kept) == 1
    assert "line 2 has utterance 'zzz', of which this tokenizer keeps no token" in sieve.left_out[0]
    assert "line 3 has slot time with 'zz', of which this tokenizer keeps no token" in sieve.left_out[1]


@pytest.mark.skipif(not MASSIVE.is_dir(), reason="needs MASSIVE")
@pytest.mark.parametrize("locale", ["ja-JP", "zh-CN", "th-TH", "tr-TR", "hi-IN", "ar-SA"])
def test_every_annotation_of_massive_spells_its_utterance(locale):
    assert len(task_rows(Slots(), str(MASSIVE), locale, "validation", "main")) == 2033


@pytest.mark.parametrize("name", ["test.jsonl", "all.jsonl"])
def test_test_rows_of_chats_of_many_languages_are_kept_out_of_pairs_too(name, tmp_path):
    def chat(language, text):
        said = [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]
        return {"messages": said, "language": language, **({} if name == "test.jsonl" else {"split": "test"})}

    file = write(tmp_path / name, chat("sw_KE", "Habari"), chat("de", "Hallo"), chat("cy", "Helo"))
    data = DataConfig(task_data=str(tmp_path if name == "test.jsonl" else file), task_languages=["en"])
    assert texts_beside(Chat(), data, {"sw", "cy", "en"}, Sieve()) == {"habari", "helo"}


def test_test_rows_of_treebanks_are_kept_out_of_pairs_too(tmp_path):
    for treebank, text in (("sv_pud", "Anna bor"), ("da_ddt", "Anna bor her")):
        block = f"# sent_id = 1\n# text = {text}\n1\tAnna\tB-PER\n\n"
        (tmp_path / f"{treebank}-ud-test.iob2").write_text(block, encoding="utf-8")
    data = DataConfig(task_data=str(tmp_path), task_languages=["en_ewt"])
    assert texts_beside(Entities(), data, {"sv", "en"}, Sieve()) == {comparable("Anna bor")}


def test_test_rows_of_other_directions_are_kept_out_of_pairs_too(tmp_path):
    sentence = {"source_lang": "sw", "target_lang": "en", "source": "Habari gani", "target": "What news"}
    write(tmp_path / "test" / "sw-en.jsonl", sentence)
    data = DataConfig(task_data=str(tmp_path), task_languages=["de-en"])
    assert texts_beside(Translation(), data, {"sw", "cy", "en"}, Sieve()) == {
        comparable("Habari gani"),
        comparable("What news"),
    }
    data.task_data = "demo"
    assert texts_beside(Translation(), data, {"tr", "en"}, Sieve()) == set()  # its parts are disjoint


def test_rows_that_pandas_numbered_keep_their_ids(tmp_path):
    for language in ("de", "fr"):
        row = {"utt": "licht aus", "annot_utt": "[was : licht] aus"}
        write(tmp_path / language / "train.jsonl", row | {"id": 7.0}, row | {"id": None}, row | {"id": 7.5})
    rows = [task_rows(Slots("", None, ["any"]), str(tmp_path), name, "train", None) for name in ("de", "fr")]
    assert [[row["id"] for row in own] for own in rows] == [["7", "de 1", "de 2"], ["7", "fr 1", "fr 2"]]

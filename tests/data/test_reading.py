"""Rows and pairs from files."""

import gzip
import json

import datasets
import pytest

from midalign.data.reading import hold_out, of_languages, read_pairs, task_rows
from midalign.data.streams import sample
from midalign.errors import InputError

ROW = {"id": "1", "locale": "de-DE", "partition": "test", "utt": "licht aus", "annot_utt": "[device_type : licht] aus"}
PAIR = {"id": "a", "source": "ja", "target": "yes", "source_lang": "de", "target_lang": "en"}


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_rows_come_from_one_file_per_partition(tmp_path):
    file = write(tmp_path / "de-DE" / "test.jsonl", ROW | {"worker_id": 3})
    assert task_rows(str(tmp_path), "de-DE", "test", "main") == [ROW | {"place": f"{file} line 1"}]


def test_rows_come_from_one_file_per_locale_with_massives_name_for_validation(tmp_path):
    write(tmp_path / "de-DE.jsonl", ROW, ROW | {"id": "2", "partition": "dev"})
    assert [row["id"] for row in task_rows(str(tmp_path), "de-DE", "validation", "main")] == ["2"]


def test_an_id_that_two_rows_have_is_refused(tmp_path):
    write(tmp_path / "de-DE" / "test.jsonl", ROW, ROW)
    with pytest.raises(InputError, match="line 2 has id 1, which an earlier row has too"):
        task_rows(str(tmp_path), "de-DE", "test", "main")


@pytest.mark.parametrize("source", ["demo", "some/folder"])
def test_an_unknown_locale_is_refused_with_the_known_ones(source):
    with pytest.raises(InputError, match=r"locale xx-XX is not in .*en-US"):
        task_rows(source, "xx-XX", "train", "main")


def test_a_folder_without_the_locale_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has neither .*test\.jsonl nor .*de-DE\.jsonl"):
        task_rows(str(tmp_path), "de-DE", "test", "main")


def test_a_hub_data_set_that_cannot_be_read_is_refused():
    with pytest.raises(InputError, match="could not be read from the hub"):
        task_rows("nobody/nothing", "de-DE", "test", "main")


def test_english_becomes_the_target_whichever_column_it_came_in(tmp_path):
    turned = {"id": "a", "source": "yes", "target": "ja", "source_lang": "en", "target_lang": "de"}
    file = write(tmp_path / "p.jsonl", turned)
    assert read_pairs([str(file)]) == [PAIR | {"place": f"{file} line 1"}]


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
        of_languages([PAIR], ["de", "sw"])


def test_held_out_english_is_trained_on_in_no_language():
    pairs = [
        {**PAIR, "source": f"{language} {i}", "target": f"english {i}", "source_lang": language}
        for language in ("de", "sw")
        for i in range(20)
    ]
    training, held = hold_out(pairs, 5, ["de", "sw"])
    assert len(held) == 10 and len(training) == 30
    assert not {pair["target"] for pair in held} & {pair["target"] for pair in training}
    assert hold_out(pairs, 5, ["de", "sw"]) == (training, held)


def test_holding_out_all_pairs_of_a_language_is_refused():
    with pytest.raises(InputError, match="align_eval_pairs=1 leaves none of the 1 pairs of de"):
        hold_out([PAIR], 1, ["de"])


def test_a_sample_has_the_same_ids_in_every_locale_and_keeps_the_order():
    german = [{"id": str(i), "locale": "de-DE"} for i in range(50)]
    swahili = [{"id": str(i), "locale": "sw-KE"} for i in range(50)]
    ids = [row["id"] for row in sample(german, 7)]
    assert ids == [row["id"] for row in sample(swahili, 7)]
    assert ids == sorted(ids, key=int) and len(ids) == 7


def test_a_language_that_is_only_measured_needs_no_pairs_left():
    assert hold_out([PAIR], 1, []) == ([], [PAIR])


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
        task_rows(str(tmp_path), "de-DE", "test", "main")


@pytest.mark.parametrize("languages", [("de", "fr"), ("en", "en")])
def test_a_pair_without_exactly_one_english_side_is_refused(languages, tmp_path):
    source, target = languages
    path = write(tmp_path / "p.jsonl", PAIR | {"source_lang": source, "target_lang": target})
    with pytest.raises(InputError, match=r"line 1 is a pair of .*exactly one side must be en"):
        read_pairs([str(path)])


def test_a_hub_data_set_without_massives_columns_is_refused(monkeypatch):
    table = datasets.Dataset.from_list([{"id": "1", "text": "x"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: table)
    with pytest.raises(InputError, match="has no column locale"):
        task_rows("some/data", "de-DE", "test", "main")


def test_a_hub_data_set_gives_the_rows_of_its_split(monkeypatch):
    table = datasets.Dataset.from_list([ROW | {"worker_id": "7"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: table)
    assert task_rows("some/data", "de-DE", "test", "main") == [ROW | {"place": "some/data, split test, row 0,"}]


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
        monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: table)
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
        assert [row["utt"] for row in task_rows(source, "de-DE", "test", "main")] == [ROW["utt"]] * 2
    else:
        with pytest.raises(InputError, match=message):
            task_rows(source, "de-DE", "test", "main")


@pytest.mark.parametrize("name", ["p.jsonl.gz", "p.parquet"])
def test_pairs_come_compressed_or_as_parquet(name, tmp_path):
    if name.endswith("gz"):
        (tmp_path / name).write_bytes(gzip.compress(json.dumps(PAIR).encode()))
    else:
        datasets.Dataset.from_list([PAIR]).to_parquet(tmp_path / name)
    (pair,) = read_pairs([str(tmp_path)])
    assert pair["source"] == PAIR["source"] and name in pair["place"]

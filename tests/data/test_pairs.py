"""Translation pairs in the forms that people have them."""

import csv
import gzip
import io
import json

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pairs_help import tokenised

import run_midalign
from midalign.data.checks import Sieve
from midalign.data.given import as_rows
from midalign.data.pairs import hold_out, of_languages, pairs_of, read_pairs
from midalign.errors import InputError
from midalign.texts import comparable
from midalign.training.record import data_record

# What ends a line to Python but not to a corpus, quotes of every kind, commas, blanks at the ends, a BOM inside.
ODD = [
    "\u2028",
    "\x85",
    "\x0b",
    "\x0c",
    "\x1c",
    "\u2029",
    '"',
    "'",
    '""',
    ',"',
    ";",
    "\\",
    "\\t",
    " ",
    "\ufeff",
    "\u200b",
    "#",
]
TEXTS = [(f"{odd}satz {odd} {i}{odd}", f"{odd}sentence {odd}{odd} {i}") for i, odd in enumerate(ODD * 3)][:50]
EXAMPLE = {"source": "ja", "target": "yes", "source_lang": "de", "target_lang": "en"}


def flat(one="de", other="en", texts=TEXTS):
    return [{"source": a, "target": b, "source_lang": one, "target_lang": other} for a, b in texts]


def as_lines(records, end="\n"):
    return "".join(json.dumps(record) + end for record in records).encode()


def as_tsv(*head, end="\n", texts=TEXTS):
    return "".join("\t".join(row) + end for row in (*head, *texts)).encode()


def as_csv(head, rows, end="\r\n"):
    file = io.StringIO()
    csv.writer(file, lineterminator=end).writerows([head, *rows])
    return file.getvalue().encode()


def as_parquet(records):
    file = io.BytesIO()
    datasets.Dataset.from_list(records).to_parquet(file)
    return file.getvalue()


def side(at, end="\n", texts=TEXTS):
    return "".join(pair[at] + end for pair in texts).encode()


FIELDS = ("source", "target", "source_lang", "target_lang")
BOM = b"\xef\xbb\xbf"
TURNED = [(b, a) for a, b in TEXTS]
TRANSLATION = [{"id": i, "source": "OPUS", "translation": {"en": b, "de": a}} for i, (a, b) in enumerate(TEXTS)]
# A name of the form: the files, and what is named in align_data.
FORMS = {
    "JSONL": ({"p.jsonl": as_lines(flat())}, "p.jsonl"),
    "JSONL with a BOM and CRLF": ({"p.jsonl": BOM + as_lines(flat(), "\r\n")}, "."),
    "JSONL, turned": ({"p.jsonl": as_lines(flat("en", "de", TURNED))}, "p.jsonl"),
    "JSONL with translation": ({"p.jsonl": as_lines(TRANSLATION)}, "."),
    "JSONL.gz": ({"p.jsonl.gz": gzip.compress(as_lines(flat()))}, "p.jsonl.gz"),
    "Parquet": ({"p.parquet": as_parquet(flat())}, "p.parquet"),
    "Parquet with translation": ({"train-00000-of-00001.parquet": as_parquet(TRANSLATION)}, "."),
    "TSV with a head": ({"pairs.tsv": as_tsv(("de", "en"))}, "pairs.tsv"),
    "TSV with a head, a BOM and CRLF": ({"pairs.tsv": BOM + as_tsv(("DE", " EN "), end="\r\n")}, "."),
    "TSV with a head, turned": ({"x.tsv": as_tsv(("en_US", "de-DE"), texts=TURNED)}, "x.tsv"),
    "TSV with four columns": (
        {"x.tsv": as_tsv(("Source_Lang", *FIELDS[:2], FIELDS[3]), texts=[("de", a, b, "en") for a, b in TEXTS])},
        "x.tsv",
    ),
    "TSV by its name": ({"de-en.tsv": as_tsv()}, "de-en.tsv"),
    "TSV by its name, turned": ({"news.en-de.clean.tsv": as_tsv(texts=TURNED)}, "."),
    "TSV by its name with a head": ({"v1.de-en.tsv": as_tsv(("en", "de"), texts=TURNED)}, "."),
    "TSV by its name with source and target": ({"en-de.tsv": as_tsv(("target", "source"))}, "."),
    "TSV by the recipe": ({"pairs.tsv": as_tsv()}, "pairs.tsv:de-en"),
    "TSV.gz by its name": ({"de-en.tsv.gz": gzip.compress(as_tsv())}, "de-en.tsv.gz"),
    "CSV with four columns": (
        {"x.csv": as_csv(("id", *FIELDS), [(7, a, b, "de", "en") for a, b in TEXTS])},
        "x.csv",
    ),
    "CSV with two columns": ({"x.csv": BOM + as_csv(("de", "en"), TEXTS)}, "x.csv"),
    "CSV with two columns of more": (
        {"de-en.csv": as_csv(("id", "en", "score", "de"), [(i, b, 0.5, a) for i, (a, b) in enumerate(TEXTS)], "\n")},
        ".",
    ),
    "CSV with source and target": ({"de-en.csv": as_csv(("source", "target"), TEXTS)}, "de-en.csv"),
    "CSV.gz": ({"x.csv.gz": gzip.compress(as_csv(("en", "de"), TURNED))}, "."),
    "Moses, the folder": ({"T.de-en.de": side(0), "T.de-en.en": side(1), "T.de-en.xml": b"<x>", "README": b"a"}, "."),
    "Moses, the beginning": ({"T.de-en.de": side(0), "T.de-en.en": side(1), "T.de-en.ids": b"1"}, "T.de-en"),
    "Moses, one file": ({"corpus.de": side(0), "corpus.en": side(1), "corpus.txt": b"a\n"}, "corpus.de"),
    "Moses, the other file": ({"c.deu_Latn": side(0), "c.eng_Latn": side(1)}, "c.eng_Latn"),
    "Moses.gz": ({"c.de.gz": gzip.compress(side(0)), "c.en.gz": gzip.compress(side(1))}, "c.de.gz"),
    "Moses, one of them packed": ({"c.de": BOM + side(0, "\r\n"), "c.en.gz": gzip.compress(side(1))}, "c"),
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """write({name: bytes}) -> the folder."""

    def files(contents):
        for name, content in contents.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return tmp_path

    return files


@pytest.fixture(scope="module")
def expected(tokenizer):
    pairs = [pair | {"place": ""} for pair in flat()]
    return batches(pairs, tokenizer)


def batches(pairs, tokenizer):
    """What a run makes of pairs: the rows without their places, and the hash in its record."""
    rows = tokenised(pairs, tokenizer)
    task = datasets.Dataset.from_list([{"input_ids": [1], "labels": [1]}])
    return [{**row, "place": ""} for row in rows], data_record(task, as_rows(rows))["pairs_sha256"]


@pytest.mark.parametrize("form", FORMS)
def test_the_same_fifty_pairs_give_the_same_batches_in_every_form(form, write, expected, tokenizer):
    files, named = FORMS[form]
    pairs = read_pairs([str(write(files) / named)])
    assert batches(pairs, tokenizer) == expected and len(pairs) == 50
    assert len({pair["place"] for pair in pairs}) == 50


@pytest.mark.parametrize("records", [TRANSLATION, flat()], ids=["translation", "flat"])
def test_a_hub_data_set_gives_the_same_batches_and_is_read_at_its_revision(records, expected, tokenizer, monkeypatch):
    asked = []

    def load(*args, **kwargs):
        asked.append((args, kwargs))
        return datasets.Dataset.from_list(records)

    monkeypatch.setattr(datasets, "load_dataset", load)
    pairs = read_pairs(["Helsinki-NLP/opus-100:de-en"], revision="abc")
    assert batches(pairs, tokenizer) == expected
    assert asked == [(("Helsinki-NLP/opus-100", "de-en"), {"revision": "abc", "split": "train"})]
    read_pairs(["owner/pairs"], revision="abc")
    assert asked[1][0] == ("owner/pairs", None)
    assert list(pairs)[3]["place"] == "Helsinki-NLP/opus-100:de-en, split train, row 3,"


def test_of_many_sides_those_that_are_named_make_pairs_with_the_pivot(write):
    folder = write({"c.de": b"a\n", "c.en": b"b\n", "c.fr": b"c\n"})
    pairs = read_pairs([str(folder / "c.fr"), str(folder / "c.de")])
    assert [(pair["source"], pair["source_lang"], pair["target"]) for pair in pairs] == [
        ("c", "fr", "b"),
        ("a", "de", "b"),
    ]


def test_forms_beside_each_other_are_read_in_the_order_of_their_names_and_each_once(write):
    folder = write(
        {
            "b.de": b"b\n",
            "b.en": b"y\n",
            "c.jsonl": as_lines([EXAMPLE]),
            "a.de-en.tsv": b"a\tx\n",
            "README.md": b"text",
            "LICENSE.txt": b"text",
        }
    )
    named = [folder, folder / "b.en", folder / "b.de", folder / "b", folder / "c.jsonl"]
    assert [pair["source"] for pair in read_pairs(map(str, named))] == ["a", "b", "ja"]


def test_places_name_the_line_where_a_pair_begins(write):
    folder = write({"x.csv": b'de,en\n"ja\nja",yes\n\nnein,no\n', "c.de": b"\nja ja\n", "c.en": b"\nyes, yes\n"})
    places = [pair["place"].removeprefix(f"{folder}/") for pair in read_pairs([str(folder)])]
    assert places == ["c.de and c.en line 2", "x.csv line 2", "x.csv line 5"]
    assert list(read_pairs([str(folder)]))[1]["source"] == "ja\nja"


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("zh_CN-en", ("zh", "en")),
        ("en-zh-Hant", ("en", "zh-Hant")),
        ("pt-br-en", ("pt", "en")),
        ("ckb-en", ("ckb", "en")),
        ("x.pt_BR-en.y", ("pt", "en")),
    ],
)
def test_languages_in_a_name_may_have_scripts_and_regions(name, pair, write):
    (found,) = read_pairs([str(write({f"{name}.tsv": b"a\tb\n"}) / f"{name}.tsv")])
    assert {found["source"]: found["source_lang"], found["target"]: "en"} == dict(zip("ab", pair, strict=True))


def test_an_ending_of_three_letters_is_a_language_where_the_name_says_so(write):
    folder = write({"N.ckb-en.ckb": b"a\n", "N.ckb-en.en": b"b\n", "N.ckb-en.txt": b"c\n"})
    for named in ("N.ckb-en", "N.ckb-en.ckb", "N.ckb-en.en", "."):
        assert [pair["source_lang"] for pair in read_pairs([str(folder / named)])] == ["ckb"]


def test_a_file_with_an_ending_of_its_own_is_jsonl_as_ever(write):
    folder = write({"pairs.txt": as_lines([EXAMPLE]), "pairs.json": as_lines([EXAMPLE]), "pairs": as_lines([EXAMPLE])})
    for name in ("pairs.txt", "pairs.json", "pairs"):
        assert [pair["source"] for pair in read_pairs([str(folder / name)])] == ["ja"]


def test_lines_that_are_empty_on_both_sides_are_passed_over(write):
    folder = write({"c.de": b"ja\n\nnein\n", "c.en": b"yes\n \nno\n", "fr-en.tsv": b"oui\tyes\n\t\n\nnon\tno\n"})
    assert [pair["source"] for pair in read_pairs([str(folder)])] == ["ja", "nein", "oui", "non"]


HEADLESS = "leaves open what is in which language; begin with 'source"
TED = {"language": ["de", "en"], "translation": ["a", "b"]}
BAD = [
    # Moses
    ({"c.de": b"a\nb\n", "c.en": b"x\ny\nz\n"}, "c", "c.de has 2 lines and c.en has 3, so they do not"),
    ({"c.de": b"a\nb\n", "c.en": b"x"}, "c.en", "c.de has 2 lines and c.en has 1"),
    ({"c.de": b"", "c.en": b"x\n"}, ".", "c.de has 0 lines and c.en has 1"),
    ({"c.de": b"a\n\n", "c.en": b"x\ny\n"}, ".", "c.de and c.en line 2 has no de text, found blanks"),
    ({"c.de": b"a\n", "c.en": " \u00a0\n".encode()}, ".", "line 1 has no en text, found blanks"),
    ({"c.de": b"a\n", "c.en": "\u200b\n".encode()}, ".", 'line 1 has no text in "target"'),
    ({"c.de": b"a\n\xe4\n", "c.en": b"x\ny\n"}, ".", "c.de line 2 has byte 0 that is not UTF-8"),
    ({"c.de": b"a\n", "c.en": "x".encode("utf-16")}, ".", "c.en line 1 has byte 0 that is not UTF-8"),
    ({"c.de": b"a\0\n", "c.en": b"x\n"}, ".", "c.de and c.en line 1 has a NUL character"),
    ({"c.de": b"a\nA\n", "c.en": b"b\na\n"}, ".", "c.de and c.en line 2 has the same text on both sides"),
    ({"c.de": b"a\na\n", "c.en": b"b\nb\n"}, ".", "line 2 has the texts of an earlier pair"),
    ({"c.de": b"x" * (1 << 20) + b"\n", "c.en": b"x\n"}, ".", "c.de line 1 has 1,024 KiB or more"),
    ({"c.de.gz": gzip.compress(side(0))[:-9], "c.en": side(1)}, ".", "c.de.gz is damaged (EOFError)"),
    ({"c.de.gz": b"a\n", "c.en": b"x\n"}, "c.en", "c.de.gz: Not a gzipped file"),
    ({"c.de": b"a\n"}, "c.de", "c.de is one side of pairs, and beside it must be one file of the other"),
    ({"c.de": b"a\n"}, ".", "has c.de, but it takes two files that differ in the language behind c; add"),
    ({"c.en": b"a\n"}, "c", "has c.en, but it takes two files"),
    ({"c.de": b"a\n", "c.en": b"x\n", "c.fr": b"o\n"}, ".", "has c.de, c.fr, c.en, but it takes two files"),
    ({"c.de": b"a\n", "c.en": b"x\n", "c.fr": b"o\n"}, "c.en", "found de, fr; add it, or name the side"),
    ({"c.de": b"a\n", "c.de.gz": b"", "c.en": b"x\n"}, "c.de", "has c.de, c.de.gz, c.en, but it takes two"),
    ({"c.de": b"a\n", "c.fr": b"o\n"}, ".", "is a pair of de and fr; exactly one side must be en"),
    ({"c.de/x": b"a\n", "c.en": b"x\n"}, "c.en", "found none; add it"),
    ({"c.yue": b"a\n", "c.en": b"x\n"}, "c.yue", "call a side of pairs c.yue-en.yue"),
    ({"c.ids": b"1\n", "c.de": b"a\n", "c.en": b"x\n"}, "c.ids", "may be no language; call a side"),
    ({"T.de-en.ids": b"a 1\n", "T.de-en.de": b"a\n", "T.de-en.en": b"x\n"}, "T.de-en.ids", "line 1 is not JSON"),
    # TSV
    ({"x.tsv": b"guten tag\tgood day\n"}, "x.tsv", f"x.tsv line 1 is 'guten tag\\tgood day', which {HEADLESS}"),
    ({"x.tsv": b"German\tEnglish\na\tx\n"}, ".", HEADLESS),
    ({"x.tsv": b"source\ttarget\na\tx\n"}, ".", HEADLESS),
    ({"x.tsv": b"id\tde\ten\n1\ta\tx\n"}, ".", HEADLESS),
    ({"de-en.tsv": b"fr\ten\na\tx\n"}, ".", "but the file is one of de and en; begin with"),
    ({"x.tsv": b"fr\ten\na\tx\n"}, "x.tsv:de-en", "but the file is one of de and en; begin"),
    ({"x.tsv": b"a\tx\n"}, "x.tsv:german", "german must be the languages of the columns"),
    ({"x.jsonl": b""}, "x.jsonl:de-en", "de-en must be the languages of the columns"),
    ({"x.tsv": b'"de"\t"en"\n"a"\t"x"\n'}, ".", "line 1 has quotes around names, and in a TSV"),
    ({"de-en.tsv": b"1.2\ta\tx\n"}, ".", "line 1 has 3 column(s) instead of 2; a text cannot"),
    ({"de-en.tsv": b"a\tx\nb\ty\tz\n"}, ".", "line 2 has 3 column(s) instead of 2; a text cannot"),
    ({"de-en.tsv": b"a\tx\nb y\n"}, ".", "line 2 has 1 column(s) instead of 2"),
    ({"de-en.tsv": b"a,x\n"}, ".", "line 1 has 1 column(s) instead of 2"),
    ({"de-en.tsv": b"a\tx\n\ty\n"}, ".", "line 2 has no de text, found blanks"),
    ({"de-en.tsv": "a\tx\n".encode("utf-16")}, ".", "line 1 has byte 0 that is not UTF-8"),
    ({"de-en.tsv": b"a\tx\n\xe4\ty\n"}, ".", "line 2 has byte 0 that is not UTF-8"),
    ({"old-new.tsv": b"a\tx\n"}, ".", "is a pair of old and new; exactly one side must be en"),
    ({"en-en.tsv": b"a\tx\n"}, ".", "is a pair of en and en; exactly one side must be en"),
    ({"en-pt-br.tsv": b"a\tx\n"}, ".", HEADLESS),
    ({"x.tsv": as_tsv(FIELDS, texts=[("a", "x", "German", "en")])}, ".", "has source_lang German; use an ISO"),
    ({"x.tsv": b"de\ten\n"}, "x.tsv", "x.tsv has no pair"),
    # CSV
    ({"de-en.csv": b"a,x\n"}, ".", "line 1 is 'a,x', but the file is one of de and en; begin with"),
    ({"x.csv": b"de;en\na;x\n"}, ".", "line 1 is 'de;en', with ; between columns where a CSV has a comma; begin"),
    ({"x.csv": b"id,en,german\n1,a,b\n"}, ".", HEADLESS),
    ({"x.csv": b"de,de\na,x\n"}, ".", "line 1 names the column de twice"),
    ({"x.csv": b"source,target,source,source_lang,target_lang\n"}, ".", "names the column source twice"),
    ({"x.csv": b"de,en\na,x\nb,y,z\n"}, ".", "line 3 has 3 column(s) instead of 2; a text with"),
    ({"x.csv": b'de,en\n"a,x\nb,y\n'}, ".", "x.csv line 2 is no CSV (unexpected end of data)"),
    ({"x.csv": b'de,en\na,"x\n' + b"b,y\n" * 40_000}, ".", "line 2 is no CSV (field larger than"),
    ({"x.csv": b'de,en\n"a"b,x\n'}, ".", "x.csv line 2 is no CSV ("),
    ({"x.csv": b"de,en\ra,x\rb,y\r"}, ".", "x.csv line 1 is no CSV (new-line character seen"),
    ({"x.csv": b"de,en\na,x\n\xe4,y\n"}, ".", "x.csv line 3 has byte 0 that is not UTF-8"),
    ({"x.csv": b'de,en\n"  ",x\n'}, ".", "line 2 has no de text, found blanks"),
    ({"x.csv.gz": gzip.compress(as_csv(("de", "en"), TEXTS))[:-9]}, ".", "x.csv.gz is damaged (EOFError)"),
    # translation
    ({"x.jsonl": b'{"translation": {"de": "a"}}'}, ".", "line 1 has a translation of 1 language(s); every row"),
    ({"x.jsonl": b'{"translation": {"de": "a", "en": "b", "fr": "c"}}'}, ".", "a translation of 3 language(s)"),
    ({"x.jsonl": b'{"translation": {"de": null, "en": "b"}}'}, ".", "has a translation of 1 language(s)"),
    ({"x.jsonl": b'{"translation": {"de": 3, "en": "b"}}'}, ".", "found a int"),
    ({"x.jsonl": b'{"source": "OPUS", "translation": {"de": "", "en": "b"}}'}, ".", 'in "source", found blanks'),
    ({"x.jsonl": b'{"translation": "a"}'}, ".", 'has no text in "source", found nothing'),
    ({"x.jsonl": b'{"translation": {"German": "a", "English": "b"}}'}, ".", "has source_lang german; use an ISO"),
    ({"p.parquet": as_parquet([{"translation": TED}])}, ".", 'has no text in "source", found a list'),
    # others
    ({"de-en.txt.zip": b"PK\3\4"}, "de-en.txt.zip", "de-en.txt.zip is no list of pairs; unpack it, or"),
    ({"x.tmx": b"<tmx>"}, "x.tmx", "x.tmx is no list of pairs; unpack it, or save it as .jsonl"),
    ({"de-en.txt.zip": b"PK\3\4"}, ".", "has no file ending in .jsonl"),
    ({"cy-en.xlsx": b"PK", "sw-en.tsv": b"a\tx\n"}, ".", "cy-en.xlsx has the name of pairs and is none of .jsonl"),
    ({}, "gone.tsv", "gone.tsv: No such file"),
    ({"c.de": b"", "c.en": b""}, "corpus", "corpus: No such file"),
    ({"opus/x": b""}, "opus:de-en", "is here, so de-en must be the languages of the columns"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "named", "message"), BAD, ids=range(len(BAD)))
def test_a_file_of_pairs_that_cannot_be_used_ends_in_its_sentence(files, named, message, write):
    folder = write(files)
    sieve = Sieve()
    with pytest.raises(InputError) as error:
        if not read_pairs([str(folder / named)]):
            sieve.fail(f"{folder / named} has no pair.")
    text = str(error.value)
    assert message in text and text.isprintable() and text.endswith(".") and len(text) < 1500
    assert str(folder) in text


@pytest.mark.parametrize("skip", ["c.de and c.en line 2", "de-fr.tsv line 1"])
def test_bad_lines_are_left_out_one_by_one_where_they_may_be(skip, write):
    folder = write({"c.de": b"a\n\nc\n", "c.en": b"x\ny\nz\n", "de-fr.tsv": b"a\tb\n"})
    sieve = Sieve("skip")
    assert [pair["target"] for pair in read_pairs([str(folder)], sieve)] == ["x", "z"]
    assert any(skip in sentence for sentence in sieve.left_out) and len(sieve.left_out) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ConnectionError("no \x1b[31mroute"), r"no \x1b[31mroute); check name and network, and name one configuration"),
        (
            datasets.Dataset.from_list([{"text": "a"}]),
            "some/pairs has the columns text; it needs translation, or source",
        ),
        (datasets.Dataset.from_list([{"translation": {"de": "a", "fr": "b"}}]), "row 0, is a pair of de and fr"),
        (datasets.Dataset.from_list([{"translation": {"de": "a", "en": " "}}]), 'row 0, has no text in "target"'),
    ],
)
def test_a_hub_data_set_that_cannot_be_used_ends_in_its_sentence(answer, message, monkeypatch):
    def load(*args, **kwargs):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(InputError) as error:
        read_pairs(["some/pairs"])
    assert message in str(error.value) and str(error.value).isprintable()


HEADS = {"de-en.tsv": "", "x.tsv": "source\ttarget\tsource_lang\ttarget_lang\n", "x.csv": "de,en\n", "c.de": ""}


@pytest.mark.parametrize("name", HEADS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary() | st.text("ab\t,\"'\n\r\0\u2028\x85\ufeffde ", max_size=40).map(str.encode))
def test_any_bytes_are_pairs_or_one_sentence(name, tmp_path, content):
    content = HEADS[name].encode() + content
    (tmp_path / name).write_bytes(content)
    (tmp_path / "c.en").write_bytes(b"".join(b"%d\n" % number for number in range(content.count(b"\n"))))
    try:
        pairs = read_pairs([str(tmp_path / name)])
    except InputError as error:
        assert str(error).startswith(str(tmp_path)) and str(error).isprintable() and len(str(error)) < 3000
    else:
        assert all(comparable(pair[side]) for pair in pairs for side in ("source", "target"))


@pytest.mark.parametrize(
    "name", ["/no/pairs", "./pairs", "../x/pairs", "a/b/c", "gone.jsonl", "a/gone.csv", "https://x/y"]
)
def test_what_is_no_name_of_the_hub_is_not_asked_for_there(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", None)
    with pytest.raises(InputError, match="No such file"):
        read_pairs([name])


def test_what_is_here_under_the_name_of_a_hub_data_set_is_read_here(write, monkeypatch):
    monkeypatch.chdir(write({"owner/pairs/x.jsonl": as_lines([EXAMPLE])}))
    monkeypatch.setattr(datasets, "load_dataset", None)
    assert [pair["source"] for pair in read_pairs(["owner/pairs"])] == ["ja"]


# The pivot: the language with the labels.


@pytest.mark.parametrize("pivot", ["de", "de-DE", "deu"])
@pytest.mark.parametrize("form", FORMS)
def test_the_pivot_is_the_target_in_every_form(form, pivot, write, expected, tokenizer):
    files, named = FORMS[form]
    pairs = read_pairs([str(write(files) / named)], pivot=pivot)
    assert [(pair["target"], pair["source"]) for pair in pairs] == TEXTS
    assert {(pair["source_lang"], pair["target_lang"]) for pair in pairs} == {("en", "de")}


def test_pairs_in_memory_know_the_pivot_too():
    found = [
        ("1", EXAMPLE, None),
        ("2", EXAMPLE | {"target_lang": "fr"}, None),
        ("3", EXAMPLE | {"source_lang": "fr"}, None),
    ]
    sieve = Sieve("skip")
    assert [(pair["source_lang"], pair["target"]) for pair in pairs_of(found, sieve, "de")] == [
        ("en", "ja"),
        ("fr", "ja"),
    ]
    assert sieve.left_out == ["3 is a pair of fr and en; exactly one side must be de"]


def test_sentences_of_the_pivot_that_are_held_out_are_trained_on_in_no_language():
    pairs = read_pairs(["demo"], pivot="de")
    assert {pair["source_lang"] for pair in pairs} == {"en", "es", "tr", "ru", "el"}
    assert {pair["target_lang"] for pair in pairs} == {"de"}
    training, held = hold_out(pairs, 7, ["en", "tr"])
    assert len(held) == 5 * 7 and len({pair["target"] for pair in held}) == 7
    assert not {pair["target"] for pair in training} & {pair["target"] for pair in held}
    assert len(of_languages(training, ["en"])) == len(of_languages(training, ["tr"]))


def test_the_demo_corpus_has_no_pairs_of_another_pivot():
    with pytest.raises(InputError, match="demo has pairs of en, de, es, tr, ru, el, but align_pivot is sw; use one"):
        read_pairs(["demo"], pivot="sw")


def test_a_pivot_without_labels_is_said_to_be_one(recipe, caplog):
    assert run_midalign.main([str(recipe()), "--task_languages", "de-DE", "--max_steps", "1"]) == 0
    assert "align_pivot is en, but the labels are in de" in caplog.text


def test_labels_in_german_only_are_aligned_with_english_and_turkish(recipe, tmp_path, capsys):
    options = ["--task_languages", "de-DE", "--align_pivot", "de", "--align_languages", "en", "tr"]
    options += ["--align_eval_languages", "en", "--score_languages", "de-DE", "en-US"]
    assert run_midalign.main([str(recipe()), *options, "--score_rows", "1"]) == 0
    record = json.loads((tmp_path / "recipe" / "run.json").read_text())
    assert record["data"]["pairs"].keys() == {"en", "tr"} and record["recipe"]["align_pivot"] == "de"
    assert "eval_retrieval_at_1_en" in json.dumps(record["metrics"])
    assert ", each with de |" in (tmp_path / "recipe" / "README.md").read_text()
    table = {cells[1]: cells[3] for line in capsys.readouterr().out.splitlines() if len(cells := line.split()) > 3}
    assert (table["de-DE"], table["en-US"]) == ("supervised", "aligned")

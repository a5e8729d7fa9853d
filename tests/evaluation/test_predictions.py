"""Files of answers in the forms that people dump them in."""

import gzip
import json
import os

import datasets
import pytest

from midalign.errors import InputError
from midalign.evaluation.predictions import is_json, read_predictions

ENDS = "\u2028\u2029\x85\v\f\r\x1c\x1d\x1e"
ROWS = [{"id": str(i), "locale": "de-DE", "utt": f"satz {i}"} for i in range(len(ENDS))]
ANSWERS = [f"time: {i}{end}uhr" for i, end in enumerate(ENDS)]
OBJECTS = [{"id": row["id"], "prediction": answer} for row, answer in zip(ROWS, ANSWERS, strict=True)]


def dumped(lines):
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


FORMS = {
    "lines": dumped(OBJECTS),
    "lines without ids": dumped([{"prediction": answer} for answer in ANSWERS]),
    "array": json.dumps(OBJECTS, ensure_ascii=False).encode(),
    "indented array": b"\n" + json.dumps(OBJECTS, indent=2).encode() + b"\n",
    "whole numbers": dumped([line | {"id": int(line["id"])} for line in OBJECTS]),
    "floats": dumped([line | {"id": float(line["id"])} for line in OBJECTS]),
    "byte order mark": b"\xef\xbb\xbf" + dumped(OBJECTS),
}


@pytest.mark.parametrize("name", ["p.jsonl", "p.json", "p.txt", "p"])
@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_dump_is_read_whole_whatever_its_name_and_the_white_space_in_it(form, pack, name, tmp_path):
    file = tmp_path / (name + ".gz" * pack)
    file.write_bytes(gzip.compress(FORMS[form]) if pack else FORMS[form])
    assert read_predictions(file, ROWS, "utt") == (ROWS, ANSWERS)


def test_plain_answers_end_at_line_feeds_alone(tmp_path):
    (tmp_path / "p.txt").write_bytes("".join(answer + "\n" for answer in ANSWERS).encode())
    assert read_predictions(tmp_path / "p.txt", ROWS, "utt") == (ROWS, ANSWERS)
    (tmp_path / "p.txt").write_bytes(b"a\r\nb\r\n\r\n[c]")
    assert read_predictions(tmp_path / "p.txt", ROWS[:4], "utt")[1] == ["a", "b", "", "[c]"]


def test_answers_come_from_parquet(tmp_path):
    datasets.Dataset.from_list(OBJECTS).to_parquet(tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet", ROWS, "utt") == (ROWS, ANSWERS)


BAD = [
    ("p.jsonl", dumped([{"id": 1.5, "prediction": ""}]), "line 1 has '1.5' in \"id\"; give the id of the row"),
    ("p.jsonl", dumped([{"id": None, "prediction": ""}]), "line 1 has 'None' in \"id\""),
    ("p.jsonl", dumped([{"id": True, "prediction": ""}]), "line 1 has 'True' in \"id\""),
    ("p.jsonl", dumped([{"id": float("nan"), "prediction": ""}]), "line 1 has 'nan' in \"id\""),
    ("p.jsonl", dumped([{"id": ["x"] * 999, "prediction": ""}]), "line 1 has \"['x', "),
    ("p.jsonl", dumped([{"id": "1", "prediction": ""}, {"id": 1.0, "prediction": ""}]), "answers 1 rows twice"),
    ("p.json", json.dumps([{"id": "1", "prediction": None}]).encode(), 'item 1 has no text in "prediction"'),
    ("p.json", json.dumps(ANSWERS).encode(), 'item 1 has no text in "prediction"'),
    ("p.json", json.dumps({"1": "time: x"}, indent=1).encode(), "line 1 is not JSON"),
    ("p.json", b"time: x\n" * len(ROWS), "line 1 is not JSON"),
    ("p.txt", b"{'id': '0'}\n" + dumped(OBJECTS[1:]), "line 1 is not JSON"),
    ("p.txt", dumped(OBJECTS)[5:], "line 1 is not JSON"),
    *(
        (name, text, "has 0 answers for 9 rows")
        for name in ("p.json", "p.jsonl", "p.txt", "p")
        for text in (b"[]", b" [\n]\n")
    ),
    ("p.json.gz", gzip.compress(b"[]"), "has 0 answers for 9 rows"),
    ("p.txt", b'[{"id": "1", "prediction": "a", "prediction": "b"}]', "p.txt has prediction twice in one object"),
    ("p.json", b'[\n{"id": "1", "prediction": "a", "id": "2"}\n]', "p.json has id twice in one object"),
    ("p.txt", b'{"prediction": "a", "prediction": "b"}\n' * 9, "p.txt line 1 has prediction twice in one object"),
    ("p.txt", "time: x\n".encode("utf-16-le") * 9, "is UTF-16, as PowerShell writes it, or no text"),
    ("p.txt", "time: x\n".encode("utf-16-be") * 9, "is UTF-16, as PowerShell writes it, or no text"),
    ("p.txt", "time: x\n".encode("utf-16") * 9, "is UTF-16, as PowerShell writes it, or no text; save it as UTF-8"),
    ("p.txt.gz", b"time: x\n" * len(ROWS), "Not a gzipped file"),
    ("p.jsonl", dumped([{"id": "\x1b[2J", "prediction": ""}]), "no row of de-DE has id '\\x1b[2J'; check"),
    ("p.jsonl", dumped([OBJECTS[0] | {"utt": "x\n" * 10**5}]), "answers id 0 with utt 'x\\nx\\n"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_read_is_refused_by_name(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        read_predictions(tmp_path / name, ROWS, "utt")
    text = str(error.value)
    assert name in text and message in text and text.isprintable() and len(text) < 500


@pytest.mark.parametrize(
    "text",
    [
        "time: x",
        "[time : x]",
        "[",
        "{",
        '"x"',
        "17",
        "",
        '{"PER": ["Al"]}',
        '["Al"]',
        '{"PER": 1, "PER": 2}',
        '[{"type": "PER"}]',
    ],
)
def test_an_answer_that_only_looks_like_json_is_a_plain_line(text, tmp_path):
    (tmp_path / "p.txt").write_text(text + "\n")
    assert not is_json(tmp_path / "p.txt")
    assert read_predictions(tmp_path / "p.txt", ROWS[:1], "utt")[1] == [text]


def test_a_pipe_of_answers_is_refused(tmp_path):
    os.mkfifo(tmp_path / "p.txt")
    with pytest.raises(InputError, match="is a pipe or a device"):
        read_predictions(tmp_path / "p.txt", ROWS, "utt")

"""Files are read line by line, within limits, and only where they are files."""

import gzip
import json
import os
import subprocess
import sys

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from midalign import files
from midalign.data.pairs import read_pairs
from midalign.errors import InputError
from midalign.files import records


def test_a_line_ends_at_a_line_feed_and_nowhere_else(tmp_path):
    texts = [f"a{end}b" for end in "\u2028\u2029\x85\v\f\r\x1c"]
    file = tmp_path / "p.jsonl"
    file.write_bytes("\n".join(json.dumps({"x": text}, ensure_ascii=False) for text in texts).encode())
    assert [record["x"] for _, record, _ in records(file)] == texts


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_line_beyond_the_limit_is_a_bad_row_and_the_next_one_is_read(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LONGEST_LINE", 1024)
    file = tmp_path / ("p.jsonl" if pack is bytes else "p.jsonl.gz")
    file.write_bytes(pack(b'{"x": 1}\n' + b" " * 5000 + b'{"x": 2}\n{"x": 3}\n' + b"1" * 1022 + b"\n" + b"y" * 1024))
    found = [(place.split()[-1], record, problem) for place, record, problem in records(file)]
    long = "has 1 KiB or more; no row is that long"
    assert found == [
        ("1", {"x": 1}, None),
        ("2", None, long),
        ("3", {"x": 3}, None),
        ("4", int("1" * 1022), None),
        ("5", None, long),
    ]


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz", "p.parquet"])
def test_a_file_beyond_the_limit_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 1 << 20)
    rows = [{"x": "y" * 1000}] * 1100
    if name == "p.parquet":
        datasets.Dataset.from_list(rows).to_parquet(tmp_path / name)
        assert (tmp_path / name).stat().st_size < 100_000
    else:
        content = "\n".join(map(json.dumps, rows)).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(InputError, match=rf"{name} holds more than 1 MiB unpacked; split it or name another file\.$"):
        list(records(tmp_path / name))


@pytest.mark.parametrize("shape", ["text", "list", "struct"])
def test_a_text_that_is_stored_once_and_stands_in_every_row_is_refused_before_it_is_unpacked(
    shape, tmp_path, monkeypatch
):
    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 200, pyarrow.int32()), ["x" * (1 << 20)])
    if shape == "list":
        texts = pyarrow.ListArray.from_arrays(range(201), texts)
    if shape == "struct":
        texts = pyarrow.StructArray.from_arrays([texts], names=["inner"])
    parquet.write_table(pyarrow.table({"source": texts}), tmp_path / "p.parquet", store_schema=False)
    assert (tmp_path / "p.parquet").stat().st_size < 1 << 17
    monkeypatch.setattr(files, "LARGEST_FILE", 1 << 26)
    read = parquet.ParquetFile.iter_batches

    def watched(self, rows, columns):
        for batch in read(self, rows, columns=columns):
            assert batch.nbytes < 1 << 24
            yield batch

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", watched)
    with pytest.raises(InputError, match="holds more than 64 MiB unpacked"):
        next(records(tmp_path / "p.parquet"))


def test_a_table_has_no_more_rows_than_a_file_has_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_LINES", 10)
    for rows in (10, 11):
        parquet.write_table(pyarrow.table({"x": pyarrow.nulls(rows)}), tmp_path / f"{rows}.parquet")
    assert len(list(records(tmp_path / "10.parquet"))) == 10
    with pytest.raises(InputError, match=r"11\.parquet holds more than"):
        next(records(tmp_path / "11.parquet"))


def test_a_value_beyond_the_limit_of_a_line_is_refused_where_all_have_one_length(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LONGEST_LINE", 1024)
    parquet.write_table(
        pyarrow.table({"x": pyarrow.array([b"x" * 1025], pyarrow.binary(1025))}), tmp_path / "p.parquet"
    )
    with pytest.raises(InputError, match="holds more than"):
        next(records(tmp_path / "p.parquet"))


@pytest.mark.parametrize(
    "line",
    ['{"id": "1", "utt": "a", "utt": "b"}', '{"x": [{"utt": 1, "y": 2, "utt": 1}]}', '{"utt": 1, "\\u0075tt": 2}'],
)
def test_an_object_that_has_a_key_twice_is_a_bad_row(line, tmp_path):
    (tmp_path / "p.jsonl").write_text(f'{line}\n{{"utt": {{"utt": 1}}}}\n')
    bad, good = records(tmp_path / "p.jsonl")
    assert bad[1:] == (None, "has utt twice in one object; keep one of them")
    assert good[1:] == ({"utt": {"utt": 1}}, None)


def test_a_table_that_has_a_column_twice_is_refused(tmp_path):
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["utt\n", "utt\n"])
    parquet.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(InputError, match=r"p\.parquet has two columns named 'utt\\n'; keep one"):
        next(records(tmp_path / "p.parquet"))


COLUMNS = {
    "list of structs": ([[{"a": "x", "b": ["y"]}], None], None),
    "struct of lists": ([{"a": ["x"]}, None], None),
    "list of lists": ([[["x"], []], []], None),
    "large list": ([["x"], None], pyarrow.large_list(pyarrow.large_string())),
    "two texts": ([["x", "y"], None], pyarrow.list_(pyarrow.string(), 2)),
    "text or not": (["x", None], None),
    "bytes": ([b"x", None], None),
    "number": ([1.5, None], pyarrow.float16()),
    "nothing": ([None, None], None),
    "a.b": ([True, None], None),
}


def test_columns_of_other_kinds_are_read_as_python_has_them_and_maps_are_left_out(tmp_path):
    table = {name: pyarrow.array(values, kind) for name, (values, kind) in COLUMNS.items()}
    maps = pyarrow.array([[("a", "b")], None], pyarrow.map_(pyarrow.string(), pyarrow.string()))
    table |= {"map": maps, "list of maps": pyarrow.ListArray.from_arrays([0, 1, 2], maps)}
    parquet.write_table(pyarrow.table(table), tmp_path / "p.parquet")
    assert [record for _, record, _ in records(tmp_path / "p.parquet")] == [
        {name: values[row] for name, (values, _) in COLUMNS.items()} for row in (0, 1)
    ]


def test_a_value_that_python_cannot_hold_is_one_sentence(tmp_path):
    for name, values in {
        "zone": pyarrow.array([0], pyarrow.timestamp("us", tz="Mars/Phobos")),
        "year": pyarrow.array([1 << 30], pyarrow.date32()),
    }.items():
        parquet.write_table(pyarrow.table({"x": values}), tmp_path / f"{name}.parquet")
        with pytest.raises(InputError, match=rf"{name}\.parquet has a value that cannot be read \("):
            next(records(tmp_path / f"{name}.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "says"), [(b" ", "holds more than 1,024 MiB unpacked"), (b"\n", "has more than 10,000,000 lines")]
)
def test_a_small_gzip_of_much_takes_little_memory(content, says, tmp_path):
    with gzip.open(tmp_path / "p.jsonl.gz", "wb", compresslevel=1) as file:
        for _ in range(1025):
            file.write(content * (1 << 20))
    assert (tmp_path / "p.jsonl.gz").stat().st_size < 1 << 23
    code = (
        "import resource, sys\n"
        "from midalign.data.pairs import read_pairs\n"
        "from midalign.errors import InputError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    read_pairs([sys.argv[1]])\n"
        "except InputError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p.jsonl.gz")], capture_output=True, text=True, check=True
    )
    message, grown = done.stdout.splitlines()
    assert f"p.jsonl.gz {says}" in message
    assert int(grown) < 100_000  # KiB


def test_many_bad_rows_are_given_up_on(tmp_path, monkeypatch):
    monkeypatch.setattr("midalign.data.checks.MOST", 1000)
    (tmp_path / "p.jsonl").write_bytes(b"{}\n" * 2000)
    with pytest.raises(InputError, match=r"line 1 has no text in .*, and 1,000 rows more cannot be used; name another"):
        read_pairs([str(tmp_path / "p.jsonl")])


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz", "p.parquet"])
def test_a_pipe_is_refused_before_it_is_read(name, tmp_path):
    os.mkfifo(tmp_path / name)
    for source in (tmp_path / name, tmp_path):
        with pytest.raises(InputError, match=rf"{name} is a pipe or a device; write what it holds to a file"):
            read_pairs([str(source)])


def test_what_a_shell_makes_of_a_command_is_refused(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"{}\n")
    os.close(writing)
    with pytest.raises(InputError, match=rf"/dev/fd/{reading} is a pipe or a device"):
        read_pairs([f"/dev/fd/{reading}"])
    os.close(reading)


def test_a_folder_with_the_name_of_a_file_is_refused(tmp_path):
    (tmp_path / "p.jsonl").mkdir()
    with pytest.raises(InputError, match=r"p\.jsonl is a folder; write what it holds to a file and name that"):
        read_pairs([str(tmp_path)])


def test_the_name_of_a_file_cannot_reach_the_terminal(tmp_path):
    (tmp_path / "a\x1b[2J\nerror: b.jsonl").write_bytes(b"{")
    with pytest.raises(InputError) as error:
        read_pairs([str(tmp_path)])
    assert str(error.value).isprintable() and "a\\x1b[2J\\nerror: b.jsonl' line 1 is not JSON" in str(error.value)

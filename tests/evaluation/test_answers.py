"""Stored answers: what is read back, and what is refused."""

import json

import pytest

from midalign.errors import InputError
from midalign.evaluation import answers
from midalign.evaluation.answers import answer
from midalign.tasks.base import Task
from midalign.tasks.slots import massive
from midalign.tasks.slots.task import Slots

LINE = '{"id": "1", "utt": "a", "prediction": "None"}\n'
RECORD = json.dumps({"instruction": massive.INSTRUCTION, "max_new_tokens": 1}).encode()


@pytest.fixture
def stored(tmp_path):
    """stored(lines, model.json's bytes) -> the answers of a folder that holds these; nothing can be generated."""

    def read(lines=LINE, record=RECORD):
        (tmp_path / "tr-TR.jsonl").write_text(lines)
        (tmp_path / "model.json").write_bytes(record)
        return answer(Slots(), {"tr-TR": [{"id": "1", "utt": "a"}]}, tmp_path, {}, None, 1, 1, lambda n: None)

    return read


def test_answers_under_the_same_record_are_read_back(stored):
    assert stored() == {"tr-TR": ["None"]}


def test_a_torn_last_line_is_cut_off_and_the_rest_kept(stored, tmp_path):
    assert stored(LINE + '{"id": "2", "utt') == {"tr-TR": ["None"]}
    assert (tmp_path / "tr-TR.jsonl").read_text() == LINE


@pytest.mark.parametrize(
    "line",
    [
        "null",
        "7",
        "[]",
        '"text"',
        '{"id": "0"}',
        '{"utt": "x", "prediction": "y"}',
        '{"id": "0", "utt": "x"}',
        '{"id": 0, "utt": "x", "prediction": "y"}',
        '{"id": ["0"], "utt": "x", "prediction": "y"}',
        '{"id": "0", "utt": null, "prediction": "y"}',
        '{"id": "0", "utt": "x", "prediction": ["y"]}',
        '{"id": "0", "utt": "x", "prediction": null}',
    ],
)
def test_a_foreign_line_is_named(stored, line):
    with pytest.raises(InputError, match=r"tr-TR.jsonl line 2 is no answer that `midalign evaluate` wrote") as refused:
        stored(f"{LINE}{line}\n")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("record", "found"),
    [(record, "is not what `midalign evaluate` writes") for record in (b"[]", b"null", b"3", b'"x"', b"true", b"{}")]
    + [(record, "cannot be used") for record in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5_000)]
    + [(b'{"max_new_tokens": 1}', "other instruction")],
)
def test_a_record_that_is_none_is_one_sentence(stored, record, found):
    with pytest.raises(InputError, match=found) as refused:
        stored(record=record)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("model.json", b'{"my": "model"}', r"model\.json is not what `midalign evaluate` writes"),
        ("model.json", b"my notes", r"model\.json cannot be used"),
        ("config.json", b"{}", "holds files that are no answers"),
        ("de-DE.jsonl", b"", "holds files that are no answers"),
        ("thesis/draft.tex", b"", "holds files that are no answers"),
    ],
)
def test_a_folder_with_files_of_somebody_else_is_left_as_it_is(name, content, found, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    with pytest.raises(InputError, match=found):
        answer(Slots("slots"), {"tr-TR": [{"id": "1", "utt": "a"}]}, tmp_path, {}, None, 1, 1, print)
    assert file.read_bytes() == content and [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_a_folder_without_answers_yet_takes_those_of_another_model(tmp_path):
    (tmp_path / "model.json").write_bytes(RECORD)
    answer(Slots("slots"), {}, tmp_path, {"model": "b"}, None, 1, 2, print)
    assert json.loads((tmp_path / "model.json").read_text())["model"] == "b"


def test_a_folder_where_a_file_of_answers_should_be_is_one_sentence(tmp_path):
    (tmp_path / "tr-TR.jsonl").mkdir()
    (tmp_path / "model.json").write_bytes(RECORD)
    with pytest.raises(InputError, match=r"tr-TR\.jsonl: Is a directory"):
        answer(Slots(), {"tr-TR": [{"id": "1", "utt": "a"}]}, tmp_path, {}, None, 1, 1, print)


def test_answers_to_another_passage_are_not_taken_for_these_though_id_and_question_are_equal(tmp_path, monkeypatch):
    class Passages(Task):
        def prompt(self, row):
            return [{"role": "user", "content": row["passage"] + row["utt"]}]

    def ask(passage):
        row = {"id": "1", "utt": "Who won?", "passage": passage}
        return answer(Passages(), {"de": [row]}, tmp_path, {}, lambda: (None, None), 1, 1, lambda n: None)

    monkeypatch.setattr(answers, "generate_batches", lambda model, tokenizer, chats, *rest: [([0], ["Ann"])])
    assert ask("Ann won.") == {"de": ["Ann"]}
    monkeypatch.setattr(answers, "generate_batches", None)
    assert ask("Ann won.") == {"de": ["Ann"]}
    with pytest.raises(InputError, match="line 1 answers other data: id 1 is asked otherwise there"):
        ask("Bob won.")

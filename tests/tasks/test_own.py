"""A task in a file of one's own: what it takes, and what is said of a file that holds none."""

import pytest

from midalign.data.reading import task_rows
from midalign.errors import InputError
from midalign.tasks import find_task

WHOLE = """
from midalign.tasks.base import Task

class Tickets(Task):
    fields = ("utt", "label")

    def gold(self, row):
        return row["label"]
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "own.py").write_text(text, encoding="utf-8")
        return str(tmp_path / "own.py")

    return write


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds 0 subclasses"),
        ("from midalign.tasks.base import Task\n", "holds 0 subclasses"),
        (WHOLE + "\nclass Other(Tickets):\n    pass\n", "holds 2 subclasses"),
        ("from midalign.tasks.base import Task\n\n1 / 0\n", "line 3: ZeroDivisionError"),
        ("def broken(:\n", "line 1: SyntaxError"),
        ("import a_package_that_is_not_there\n", "line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "line 1: SystemExit"),
        ("class \x00:\n", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_task_is_one_sentence(write, text, sentence):
    with pytest.raises(InputError) as error:
        find_task(write(text))
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["intent", "slots.yaml", "", "none.py", "a\nb.py", "x" * 5000 + ".py", "a\0b.py"])
def test_a_name_that_is_no_task_is_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        find_task(name)
    assert "\n" not in str(error.value)


def test_rows_of_a_folder_need_no_more_than_the_task_says(write, tmp_path):
    task = find_task(write(WHOLE))
    (tmp_path / "de").mkdir()
    whole = '{"utt": "Licht aus", "label": "off"}\n'
    (tmp_path / "de" / "train.jsonl").write_text(whole + '{"utt": "x"}\n', encoding="utf-8")
    with pytest.raises(InputError, match='line 2 has no text in "label", found nothing'):
        task_rows(task, str(tmp_path), "de", "train", None)
    (tmp_path / "de" / "train.jsonl").write_text(whole, encoding="utf-8")
    (row,) = task_rows(task, str(tmp_path), "de", "train", None)
    assert (row["id"], row["locale"], row["partition"]) == ("de 0", "de", "train")
    assert task.example(row)["completion"] == [{"role": "assistant", "content": "off"}]
    assert task.counts(row, " off\n") == {"accuracy": (True, 1)}
    with pytest.raises(InputError, match="language german is none"):
        task.language("german", str(tmp_path))


def test_what_answers_depend_on_changes_with_the_file(write):
    before = find_task(write(WHOLE)).depends_on()
    after = find_task(write(WHOLE.replace('row["label"]', 'row["label"].upper()'))).depends_on()
    assert before != after


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("utt", "question"), "asks by the field 'utt', which is not among its fields"),
        (('"label")', '"label")\n    figures = {}'), "must show the first of its figures first"),
        (('"label")', '"label")\n    columns = ("recall",)'), "must show the first of its figures first"),
        (
            ('"label")', '"label")\n    figures = {"p": Task.figures["accuracy"]}'),
            "has a figure p, a name that reports use",
        ),
        (('"label")', '"label")\n    figures = {"each": Task.figures["accuracy"]}'), "has a figure each, a name that"),
        (('"label")', '"label")\n    part = "label"'), "has the part 'label' and no report of its own"),
        (("def gold", "def goal"), "has no gold"),
        (('("utt", "label")', '"utt"'), "has fields 'utt', which are no list of names"),
        (('("utt", "label")', '("utt", 1)'), "has fields ('utt', 1), which are no list of names"),
    ],
)
def test_a_task_that_rows_or_reports_could_not_do_with_is_one_sentence(write, change, sentence):
    with pytest.raises(InputError) as error:
        find_task(write(WHOLE.replace(*change)))
    assert f"own.py: Tickets {sentence}" in str(error.value)


def test_ids_that_are_numbers_or_missing_are_filled_in_where_a_task_asks_for_none(write, tmp_path):
    lines = ['{"id": 7, "utt": "a", "label": "b"}', '{"id": null, "utt": "c", "label": "b"}']
    (tmp_path / "de.jsonl").write_text(
        "".join(f'{line[:-1]}, "partition": "test"}}\n' for line in lines), encoding="utf-8"
    )
    rows = task_rows(find_task(write(WHOLE)), str(tmp_path), "de", "test", None)
    assert [(row["id"], row["utt"]) for row in rows] == [("7", "a"), ("de 1", "c")]


ROW = {"utt": "a", "label": "b", "place": "train.jsonl line 3"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('row["label"]', 'row["lable"]'), "own.py, line 8: gold of train.jsonl line 3 raised KeyError: 'lable'"),
        (('row["label"]', 'float(row["label"])'), "line 8: gold of train.jsonl line 3 raised ValueError: could not"),
        (('row["label"]', 'len(row["label"])'), "own.py: gold of train.jsonl line 3 gave 1; it gives text"),
        (("return row", "row"), "own.py: gold of train.jsonl line 3 gave None; it gives text"),
    ],
)
def test_what_a_task_does_to_a_row_is_said_with_its_line_and_the_row(write, change, sentence):
    task = find_task(write(WHOLE.replace(*change)))
    with pytest.raises(InputError) as error:
        task.counts(ROW, "b")
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_a_problem_is_words_or_none(write):
    task = find_task(write(WHOLE + "\n    def problem(self, row):\n        return row['label'] == 'b'\n"))
    with pytest.raises(InputError, match=r"problem of train\.jsonl line 3 gave True; it gives text, or None"):
        task.problem(ROW)


COUNTED = """
    figures = {"hits": Figure("hits", lambda sums: sums[..., 0] / sums[..., 1])}

    def counts(self, row, answer):
        return {"hits": (answer == "b", 1)}
"""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ('"hits": (', '"hit": ('),
            "gave {'hit': (True, 1)}; it gives counts, the same many numbers for every row, of hits",
        ),
        (('(answer == "b", 1)', 'answer == "b"'), "of hits"),
        (('(answer == "b", 1)', "answer"), "of hits"),
        (('{"hits": (answer == "b", 1)}', "1"), "of hits"),
        (("sums[..., 0] / sums[..., 1]", "sums[0] / sums[1]"), "figure hits gives no share for each of several sums"),
        (("sums[..., 0] / sums[..., 1]", "sums[..., 0].sum()"), "figure hits gives no share for each of several sums"),
        (("sums[..., 0] / sums[..., 1]", "sums[..., 2]"), "figure hits gives no share for each of several sums"),
    ],
)
def test_counts_that_no_figure_can_be_made_of_are_one_sentence(write, change, sentence):
    whole = WHOLE.replace("import Task", "import Figure, Task") + COUNTED
    assert find_task(write(whole)).counts(ROW, "b") == {"hits": (True, 1)}
    with pytest.raises(InputError) as error:
        find_task(write(whole.replace(*change))).counts(ROW, "b")
    assert sentence in str(error.value) and "\n" not in str(error.value)


SLIPS = {
    "fields = None": "has fields None, which are no list of names",
    "figures = None": "has figures None, of which not each is a Figure",
    'figures = {"hit": max}': "of which not each is a Figure",
    "def gold(self): return 1": "gold of line 1 raised TypeError",
    "def __init__(self): pass": "__init__ raised TypeError",
    "def prompt(self, row): pass": "prompt of line 1 gave None; it gives messages, such as",
    'def prompt(self, row): return row["utt"]': "it gives messages",
    'def prompt(self, row): return {"messages": []}': "it gives messages",
    'part = "kind"\n    def report(self, rows, answers): return super().report(rows, answers)': "rows, per_kind",
}


@pytest.mark.parametrize(("slip", "sentence"), SLIPS.items(), ids=SLIPS)
def test_a_slip_in_ones_own_task_is_one_sentence_with_its_line(slip, sentence, write):
    with pytest.raises(InputError) as error:
        task = find_task(write(WHOLE + f"\n    {slip}\n"), None)
        row = {"utt": "a", "label": "b", "place": "line 1"}
        task.example(row)
        task.report([row], ["b"])
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert "raised" not in sentence or "own.py, line 10:" in str(error.value)


REPLACED = """
    def prompt(self, row):
        return row["utt"] + "\\nAnswer:"

    def example(self, row):
        return {"prompt": self.prompt(row), "completion": " " + row["label"]}
"""
TOOLS = """
from midalign.tasks.chat.task import Chat

class Own(Chat):
    def prompt(self, row):
        return {"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]}
"""


def test_what_training_can_ask_is_no_slip(write):
    task = find_task(write(WHOLE + REPLACED))
    assert task.example({"utt": "a", "label": "b"}) == {"prompt": "a\nAnswer:", "completion": " b"}
    assert find_task(write(TOOLS)).prompt({"tools": None})["tools"]


def test_the_line_is_that_of_a_file_named_from_here_too(write, tmp_path, monkeypatch):
    write("import json\n\n\njson.loads('{')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="line 4: JSONDecodeError"):
        find_task("own.py")


def test_a_task_may_use_dataclasses_and_names_its_own_line_where_a_library_fails(write):
    dataclass = "import dataclasses\n@dataclasses.dataclass\nclass A:\n    b: int\n"
    text = "from __future__ import annotations\n" + dataclass + WHOLE
    assert find_task(write(text)).fields == ("utt", "label")
    with pytest.raises(InputError, match="line 2: JSONDecodeError"):
        find_task(write("import json\njson.loads('{')\n"))

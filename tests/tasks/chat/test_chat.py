"""Chats as a task: what is asked and learned of a row, what an answer is worth, and small runs."""

import json

import pytest

import run_midalign
from midalign.data.reading import task_rows
from midalign.errors import InputError
from midalign.tasks import find_task
from midalign.tasks.chat import Chat
from midalign.tasks.chat.task import calls_in, normalised

SYSTEM, ASK = {"role": "system", "content": "kurz"}, {"role": "user", "content": "wetter?"}
ANSWER = {"role": "assistant", "content": "Sonnig."}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Bern", "days": 2}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALLING = {"role": "assistant", "tool_calls": [CALL]}
CALLED = {"role": "tool", "name": "weather", "content": "3"}


@pytest.fixture
def row(tmp_path):
    """row(record, task) -> the one row of a file with it."""

    def read(record, task=None):
        (tmp_path / "de.jsonl").write_text(json.dumps(record) + "\n")
        return task_rows(task or Chat(), str(tmp_path), "de", "train", "main")[0]

    return read


def test_the_prompt_is_all_before_the_last_answer_with_its_tools(row):
    found = row({"messages": [SYSTEM, ASK, CALLING, CALLED, ANSWER], "tools": [TOOL]})
    asked = [SYSTEM, ASK, CALLING, CALLED]
    assert Chat().prompt(found) == {"messages": asked, "tools": [TOOL]}
    assert Chat().example(found) == {"prompt": asked, "completion": [ANSWER], "tools": [TOOL]}
    every = find_task("chat", options={"task_loss_on": "all"})
    assert every.example(found)["answers"] == [2]
    assert (found["user"], Chat().gold(found)) == ("wetter?", "Sonnig.")


def test_plain_text_and_chats_without_tools_are_asked_as_they_are(row):
    assert Chat().prompt(row({"prompt": "1+1=", "completion": " 2"})) == "1+1="
    assert Chat().prompt(row({"messages": [ASK, ANSWER]})) == [ASK]


def test_an_instruction_comes_first_where_a_row_has_none(row):
    task = find_task("chat", "Antworte.", {"task_loss_on": "all"})
    first = {"role": "system", "content": "Antworte."}
    found = task.example(row({"messages": [ASK, ANSWER, ASK, ANSWER]}, task))
    assert found == {"prompt": [first, ASK, ANSWER, ASK], "completion": [ANSWER], "answers": [2]}
    for record, sentence in (
        ({"messages": [SYSTEM, ASK, ANSWER]}, "has a system message of its own, and task_instruction is set"),
        ({"prompt": "1+1=", "completion": " 2"}, "has a plain prompt, but task_instruction is a message"),
    ):
        with pytest.raises(InputError, match=sentence):
            row(record, task)


def test_a_chat_of_nothing_but_calls_before_the_answer_asks_nothing(row):
    with pytest.raises(InputError, match="line 1 has no text before the answer; put what is asked there"):
        row({"messages": [CALLING, CALLED | {"content": ""}, ANSWER]})
    assert row({"messages": [SYSTEM, ANSWER]})["user"] == "kurz"


MATCHES = [
    ("Sonnig.", 1, 1),
    ("<think>hm</think> Sonnig.\n", 1, 1),
    ("sonnig", 0, 1),
    (" SONNIG !", 0, 1),
    ("sonnig, warm", 0, 0),
    ("", 0, 0),
    ("<think>Sonnig.", 0, 0),
]


@pytest.mark.parametrize("answer, exact, same", MATCHES)
def test_an_answer_is_met_exactly_or_but_for_case_and_punctuation(answer, exact, same, row):
    counts = Chat().counts(row({"messages": [ASK, ANSWER]}), answer)
    assert counts == {"exact_match": (exact, 1), "normalised_match": (same, 1)}


@pytest.mark.parametrize(
    "text, other, same",
    [
        ("3.5", "35", False),
        ("3.5.", "3.5", True),
        ("-5", "5", False),
        ("(5)", "5", True),
        ("1,000", "1000", False),
        ("Bern, 5", "bern 5", True),
        ("12:30", "1230", False),
        ("well-known", "wellknown", True),
        ("¿Dónde?", "dónde", True),
        ("「東京」。", "東京", True),
        ("the cat", "cat", False),
        ("?!", "", False),
        ("$5", "5", False),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width", True),
    ],
)
def test_punctuation_counts_where_it_is_part_of_a_number_or_all_there_is(text, other, same):
    assert (normalised(text) == normalised(other)) == same


CALLS = [
    ('<tool_call>\n{"name": "weather", "arguments": {"days": 2, "city": "Bern"}}\n</tool_call>', 1),
    ('[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Bern", "days": 2}}]', 1),
    ('{"name": "weather", "parameters": {"city": "Bern", "days": 2}}', 1),
    (
        '{"type": "function", "function": {"name": "weather", "arguments": "{\\"city\\": \\"Bern\\", \\"days\\": 2}"}}',
        1,
    ),
    ('{"name": "weather", "arguments": {"city": "Bern"}}', 0),
    ('{"name": "weather", "arguments": {"city": "Bern", "days": 2}}' * 2, 0),
    ('{"name": "weather", "arguments": {"city": "Bern", "days": 2}', 0),
    ("weather in Bern", 0),
    ("", 0),
    ("{" * 10_000, 0),
]


@pytest.mark.parametrize("answer, met", CALLS, ids=range(len(CALLS)))
def test_calls_are_compared_as_what_is_called_however_a_template_writes_them(answer, met, row):
    found = row({"messages": [ASK, CALLING], "tools": [TOOL]})
    assert Chat().counts(found, answer) == {"exact_match": (met, 1), "normalised_match": (met, 1)}
    assert calls_in(Chat().gold(found)) == [CALL["function"]]
    assert Chat().right(found, Chat().gold(found))


OWN = """
from midalign.tasks.base import Figure, accuracy
from midalign.tasks.chat import Chat


class Starts(Chat):
    figures = {"starts": Figure("starts right", accuracy)}
    explained = "starts right: the first letter is that of the answer"
    max_new_tokens = 4

    def counts(self, row, answer):
        return {"starts": (answer[:1] == self.gold(row)[:1], 1)}
"""


def test_a_file_of_one_s_own_scores_chats_by_its_own_function(tmp_path, row):
    (tmp_path / "own.py").write_text(OWN)
    task = find_task(str(tmp_path / "own.py"), options={"task_loss_on": "all"})
    found = row({"messages": [ASK, ANSWER]}, task)
    assert task.report([found] * 2, ["So!", "no"]) == {"starts": 0.5, "rows": 2}
    assert (task.compared, task.example(found)["answers"]) == ("starts", [])


def test_keys_of_chats_are_for_chats():
    for name, key in (("slots", "task_loss_on"), ("intents", "task_language_column"), ("chat", "task_slots")):
        with pytest.raises(InputError, match=f"{key} is set, but task {name} does not read it; delete {key}"):
            find_task(name, options={key: ["any"]})


def test_lm_eval_asks_no_chat_of_several_turns(tmp_path):
    lm_task = pytest.importorskip("midalign.evaluation.lm_task")
    (tmp_path / "de.jsonl").write_text(json.dumps({"messages": [SYSTEM, ASK, ANSWER], "split": "test"}))
    (found,) = lm_task.rows("chat", "de", str(tmp_path), "main")["test"]
    assert (found["instruction"], found["asked"], found["target"]) == ("kurz", "wetter?", "Sonnig.")
    for record in ({"messages": [ASK, ANSWER, ASK, ANSWER]}, {"prompt": "1+1=", "completion": " 2"}):
        (tmp_path / "de.jsonl").write_text(json.dumps(record | {"split": "test"}))
        with pytest.raises(InputError, match="line 1 is a chat that lm_eval cannot ask"):
            lm_task.rows("chat", "de", str(tmp_path), "main")


# ChatML that writes tools and calls.
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>"
    "{{ m.role }}\n{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROWS = [
    {"messages": [SYSTEM, ASK, ANSWER], "language": "gsw"},
    {"messages": [ASK, ANSWER, ASK | {"content": "und morgen?"}, ANSWER], "language": "gsw"},
    {"messages": [ASK | {"content": "Bern?"}, CALLING, CALLED, ANSWER], "tools": [TOOL], "language": "gsw"},
    {"prompt": "1+1=", "completion": " 2", "language": "gsw"},
    {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}], "language": "gsw"},
]


@pytest.fixture
def chats(recipe, tmp_path, tokenizer):
    """chats(extra lines, rows) -> a recipe for chats of all kinds, with four test rows in two languages."""

    def write(extra="", rows=ROWS):
        (tmp_path / "model" / "chat_template.jinja").write_text(TEMPLATE)
        data = tmp_path / "data"
        data.mkdir()
        tests = [
            {"messages": [ASK | {"content": f"test {i}"}, ANSWER], "language": ("gsw", "de")[i % 2]} for i in range(4)
        ]
        tests[2] = {**ROWS[2], "language": "gsw", "messages": [ASK | {"content": "Thun?"}, CALLING]}
        (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (data / "validation.jsonl").write_text(json.dumps(ROWS[1]) + "\n")
        (data / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tests))
        (tmp_path / "own.py").write_text(OWN)
        path = recipe(extra)
        text = path.read_text().replace("task_data: demo", f"task: {tmp_path / 'own.py'}\ntask_data: {data}")
        text = text.replace("[en-US, ru-RU]", "[gsw, de]").replace("task_rows: 16", "task_languages: [gsw]")
        path.write_text(text)
        return path

    return write


def test_chats_with_tools_turns_and_system_prompts_train_and_are_scored_evaluated_and_compared(
    chats, tmp_path, midalign, capsys
):
    path = chats("task_loss_on: all\n")
    assert run_midalign.main([str(path)]) == 0
    scores = json.loads((tmp_path / "recipe" / "scores.json").read_text())["scores"]
    assert scores.keys() == {"gsw", "de"} and scores["de"].keys() == {"starts"}
    history = json.loads((tmp_path / "recipe" / "trainer_state.json").read_text())["log_history"]
    assert {"loss/task", "loss/align", "eval_task"} <= set().union(*history)
    capsys.readouterr()
    code, _, err = midalign("evaluate", path, "--output", tmp_path / "report", "--no-base")
    assert code == 0, err
    line = json.loads((tmp_path / "report" / "recipe" / "gsw.jsonl").read_text().splitlines()[0])
    assert line.keys() == {"id", "user", "prompt_sha256", "prediction"} and line["user"] in ("test 0", "Thun?")
    assert "starts right" in (tmp_path / "report" / "report.html").read_text()


def test_what_a_template_cannot_write_stops_a_run_or_is_left_out(chats, tmp_path, capsys):
    path = chats()
    (tmp_path / "model" / "chat_template.jinja").write_text(TEMPLATE.replace("{{ tools | tojson }}", ""))
    assert run_midalign.main([str(path)]) == 2
    assert "train.jsonl line 3 has the tool 'weather', which the chat template of" in capsys.readouterr().err
    assert run_midalign.main([str(path), "--on_bad_row", "skip"]) == 2
    assert "test.jsonl line 3 has the tool 'weather', which the chat template of" in capsys.readouterr().err


def test_preview_marks_what_is_learned_of_every_turn(chats, midalign):
    path = chats("task_loss_on: all\n", rows=ROWS[1:2])
    code, out, err = midalign("preview", path)
    assert code == 0, err
    assert "⟦S⟧⟦o⟧⟦n⟧⟦n⟧⟦i⟧⟦g⟧⟦.⟧⟦<|im_end|>⟧⟦\n⟧<|im_start|>user\nund morgen?" in out

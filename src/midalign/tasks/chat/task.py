"""Chats as a task: what is asked, what is learned of it, and what an answer is worth."""

import json
import re
import unicodedata
from collections import Counter
from typing import ClassVar

from midalign.errors import InputError
from midalign.languages import language_of
from midalign.tasks.base import Figure, Task, accuracy
from midalign.tasks.chat import sources
from midalign.tasks.chat.rows import called, parse
from midalign.tasks.thoughts import without_thought
from midalign.texts import comparable, spelled

# A mark between digits and the sign of a number are part of it: 3.5 is not 35, -5 is not 5.
OF_A_NUMBER = re.compile(r"(?<=\d)[.,:/](?=\d)|(?<![\w.,])[-\u2212](?=\d)")


class Chat(Task):
    """Chats in TRL's formats (`tasks.chat.rows`), scored by how the last answer is met.

    task_loss_on: `last` for the last answer, `all` for every turn of the assistant (in the completion, where a row has
    one).   task_language_column: see `tasks.chat.sources.find`.

    A figure of one's own is a subclass in a file, with `figures` and `counts`; see `tasks.base.Task`.
    """

    fields = ("user", "chat")
    also = ("prompt", "completion", "tools", "answers")
    text = "user"
    guarded = ("chat",)  # the whole of what is asked: a last word such as "thanks" is said in many chats
    options = ("task_loss_on", "task_language_column")
    max_new_tokens = 512
    figures: ClassVar = {
        "exact_match": Figure("exact match", accuracy),
        "normalised_match": Figure("normalised match", accuracy),
    }
    explained = (
        "exact match: the last answer, white space squeezed; normalised match: case, punctuation and white space aside"
    )

    def __init__(self, name="", instruction=None, task_loss_on=None, task_language_column=None):
        super().__init__(name, instruction)
        self._all_turns, self._column = task_loss_on == "all", task_language_column

    def gold(self, row):
        answer = row["completion"]
        if isinstance(answer, str):
            return answer.strip()
        calls = [json.dumps(call, ensure_ascii=False) for call in _calls_of(answer[0])]
        return "\n".join([answer[0].get("content", ""), *calls]).strip()

    def problem(self, row):
        if self.instruction and isinstance(row["prompt"], str):
            return "has a plain prompt, but task_instruction is a message before messages; delete task_instruction"
        if self.instruction and row["prompt"][0]["role"] in ("system", "developer"):
            return (
                f"has a {row['prompt'][0]['role']} message of its own, and task_instruction is set; delete one of both"
            )
        return None

    def prompt(self, row):
        """What is asked: a list of messages, {"messages", "tools"} where there are tools, or plain text."""
        messages = self._asked(row)
        return {"messages": messages, "tools": row["tools"]} if row["tools"] else messages

    def example(self, row):
        """As `Task.example`, with "tools", and with "answers", the places in the prompt of what is learned beside the
        last answer, where all turns are.
        """
        prompt = self._asked(row)
        example = {"prompt": prompt, "completion": row["completion"]}
        if row["tools"]:
            example["tools"] = row["tools"]
        if self._all_turns and not isinstance(prompt, str):
            moved = len(prompt) - len(row["prompt"])
            example["answers"] = [place + moved for place in row["answers"]]
        return example

    def asks(self, text, language):
        raise InputError("align_context task: a chat has no prompt in which one text stands; set align_context: plain.")

    def _asked(self, row):
        before = [{"role": "system", "content": self.instruction}] if self.instruction else []
        return row["prompt"] if isinstance(row["prompt"], str) else [*before, *row["prompt"]]

    def counts(self, row, answer):
        calls = [] if isinstance(row["completion"], str) else _calls_of(row["completion"][0])
        if calls:  # how a model writes a call is its template's matter
            met = Counter(map(_key, calls)) == Counter(map(_key, calls_in(answer)))
            return {"exact_match": (met, 1), "normalised_match": (met, 1)}
        said, gold = without_thought(answer), without_thought(self.gold(row))
        return {
            "exact_match": (spelled(said) == spelled(gold), 1),
            "normalised_match": (normalised(said) == normalised(gold), 1),
        }

    def languages_in(self, source, spoken):
        named = {*super().languages_in(source, spoken), *sources.languages_in(source, self._column)}
        return sorted(name for name in named if language_of(name) in spoken)

    def find(self, source, language, partition, revision):
        found, where, alone = sources.find(source, language, partition, revision, self._column)
        return map(_as_row, found), where, alone

    def vital(self, row):
        answer = row["completion"] if isinstance(row["completion"], str) else row["completion"][0].get("content", "")
        return [("user text", row["user"]), *([("answer", answer)] if comparable(answer) else [])]


def normalised(text):
    """A text as `texts.comparable` has it, without punctuation that is no part of a number.

    As SQuAD's scorer, but for its English articles, which stay.
    """
    kept = [(found.start(), found.end()) for found in OF_A_NUMBER.finditer(text)]
    places = {place for start, end in kept for place in range(start, end)}
    letters = (c for i, c in enumerate(text) if i in places or not unicodedata.category(c).startswith("P"))
    return comparable("".join(letters)) or comparable(text)


def calls_in(text):
    """The tool calls in an answer: every JSON object in it with a name, in whatever marks a template puts around."""
    found, place, decoder = [], 0, json.JSONDecoder()
    while (place := text.find("{", place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        name, arguments = called(value)
        if isinstance(name, str):
            found.append({"name": name, "arguments": _object(arguments)})
    return found


def _calls_of(message):
    """The tool calls of a message: [{"name", "arguments"}], arguments as an object."""
    calls = (called(call) for call in message.get("tool_calls", ()))
    return [{"name": name, "arguments": _object(arguments)} for name, arguments in calls]


def _object(arguments):
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _key(call):
    return json.dumps(call, sort_keys=True)


def _as_row(found):
    """(place, row, problem) of a record."""
    place, record, problem = found
    if problem:
        return place, record, problem
    row, problem = parse(record)
    if problem:
        return place, None, problem
    own = {key: record[key] for key in ("id", "locale", "partition")}
    if isinstance(row["prompt"], str):
        return place, {**row, **own, "user": row["prompt"], "chat": row["prompt"]}, None
    texts = [(m["role"], m["content"]) for m in row["prompt"] if comparable(m.get("content", ""))]
    asked = [text for role, text in texts if role == "user"] or [text for _, text in texts]
    if not asked:
        return place, None, "has no text before the answer; put what is asked there"
    turns = [text for role, text in texts if role not in ("system", "developer")] or asked
    return place, {**row, **own, "user": asked[-1], "chat": "\n".join(turns)}, None

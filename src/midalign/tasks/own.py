"""A task in a file of the user's own."""

import functools
import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from pathlib import Path

import numpy as np

from midalign.errors import InputError, MidalignError
from midalign.tasks.base import Figure, Task
from midalign.texts import place_of, shown

# What the figures of a report stand among.
RESERVED = frozenset(
    {"rows", "languages", "each", "gain", "gain_ci", "p", "p_method", "p_holm", "p_bh", "signatures", "malformed"}
)


def read_task(path):
    """The subclass of `Task` that a Python file holds. Runs the file. Raises InputError, as its methods do then."""
    name = place_of(path)
    if not os.path.isfile(path):  # False, too, for what can be no path
        raise InputError(f"task {name} is no file here; name one that holds a subclass of midalign.tasks.base.Task.")
    spec = importlib.util.spec_from_file_location(f"midalign_task_{Path(path).stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file does
        line = (error.lineno or 1) if isinstance(error, SyntaxError) else _line_in(spec.origin, error, 1)
        raise InputError(f"task {name} cannot be read, line {line}: {_reason(error)}; mend it.") from error
    found = [kind for kind in vars(module).values() if _is_own(kind, module)]
    if len(found) != 1:
        raise InputError(f"task {name} holds {len(found)} subclasses of midalign.tasks.base.Task; leave one in it.")
    problem = _problem(found[0])
    if problem:
        raise InputError(f"task {name}: {found[0].__name__} {problem}.")
    for key, method in list(vars(found[0]).items()):
        if inspect.isfunction(method):
            setattr(found[0], key, _watched(method, path))
    found[0].sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return found[0]


def _problem(kind):
    """Why rows and reports could not do with a task, or None."""
    if not isinstance(kind.fields, (tuple, list)) or not all(isinstance(field, str) for field in kind.fields):
        return f'has fields {kind.fields!r}, which are no list of names; write fields = ("question", "answer")'
    if not isinstance(kind.figures, dict) or not all(isinstance(own, Figure) for own in kind.figures.values()):
        return f'has figures {kind.figures!r}, of which not each is a Figure; write {{"name": Figure("title", share)}}'
    figures, columns = list(kind.figures), kind.columns or kind.figures
    reserved = sorted(RESERVED.intersection(figures))
    if kind.text not in kind.fields:
        return f"asks by the field {kind.text!r}, which is not among its fields; set text to one of them"
    if not figures or next(iter(columns)) != figures[0] or not set(columns) <= set(figures):
        return "must show the first of its figures first; let columns begin with it and name figures only"
    if reserved:
        return f"has a figure {reserved[0]}, a name that reports use themselves; call it otherwise"
    if kind.part and kind.report is Task.report:
        return f"has the part {kind.part!r} and no report of its own; write one that gives per_{kind.part}"
    if kind.gold is Task.gold:
        return "has no gold; write a method gold(self, row) that gives the right answer"
    return None


def _watched(method, path):
    """A method of a user's class that says in one sentence what is wrong in it: its line, the row, what it gave."""

    @functools.wraps(method)
    def watched(self, *args, **kwargs):
        row = args[0] if args and isinstance(args[0], dict) else {}
        about = method.__name__ + (f" of {row['place']}" if "place" in row else "")
        try:
            given = method(self, *args, **kwargs)
        except MidalignError:
            raise
        except Exception as error:  # whatever a user's file does
            line = _line_in(method.__code__.co_filename, error, method.__code__.co_firstlineno)
            sentence = f"task {place_of(path)}, line {line}: {about} raised {_reason(error)}; mend it."
            raise InputError(sentence) from error
        allowed = _allowed(self, method.__name__, given)
        if allowed:
            raise InputError(f"task {place_of(path)}: {about} gave {shown(repr(given))}; it gives {allowed}.")
        for name in self.figures if method.__name__ == "counts" else ():
            if not _is_of_each(self.figures[name].share, len(given[name])):
                raise InputError(
                    f"task {place_of(path)}: figure {name} gives no share for each of several sums; let it take counts "
                    "from the last axis, as in sums[..., 0] / sums[..., 1]."
                )
        return given

    return watched


def _line_in(path, error, otherwise):
    """The last line of a file that an error came through; `otherwise` where it came through none."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == path), otherwise)


def _allowed(task, method, given):
    """What a method must give, where it does not."""
    if method == "gold" and not isinstance(given, str):
        return "text"
    if method == "problem" and not (given is None or isinstance(given, str)):
        return "text, or None"
    if method == "prompt" and not _is_prompt(given, type(task).example is not Task.example):
        return 'messages, such as [{"role": "user", "content": "..."}]'
    if method == "report":
        told = [*task.shown, "rows", *([f"per_{task.part}"] if task.part else [])]
        return None if isinstance(given, dict) and given.keys() >= set(told) else f"a dict with {', '.join(told)}"
    if method != "counts":
        return None
    if not isinstance(given, dict) or not all(_are_numbers(given.get(figure)) for figure in task.figures):
        return f"counts, the same many numbers for every row, of {', '.join(task.figures)}"
    return None


def _is_prompt(given, with_example):
    """Whether it can be asked: messages, also beside tools, or text.

    with_example: whether the task replaces `Task.example`, which puts messages behind it.
    """
    if isinstance(given, str):
        return with_example
    given = given.get("messages") if isinstance(given, dict) and given.get("tools") else given
    return isinstance(given, list) and all(isinstance(message, dict) and "role" in message for message in given)


def _are_numbers(counts):
    return isinstance(counts, tuple | list | np.ndarray) and all(
        isinstance(n, int | float | np.number | np.bool_) for n in counts
    )


@functools.cache
def _is_of_each(share, n):
    """Whether a figure of n counts is one of each of several sums, as intervals and tests take it."""
    some = np.arange(1.0, 5 * n + 1).reshape(5, n)
    try:
        together = np.asarray(share(some), dtype=float)
        return together.shape == (5,) and np.allclose(together, [share(one) for one in some], equal_nan=True)
    except Exception:  # whatever a user's figure does
        return False


def _reason(error):
    return " ".join(f"{type(error).__name__}: {error}".split())


def _is_own(kind, module):
    return isinstance(kind, type) and issubclass(kind, Task) and kind.__module__ == module.__name__

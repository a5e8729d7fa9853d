"""A task in a file of the user's own."""

import hashlib
import importlib.util
import os
import traceback
from pathlib import Path

from midalign.errors import InputError
from midalign.tasks.base import Task
from midalign.texts import place_of

# What the figures of a report stand among.
RESERVED = frozenset(
    {"rows", "languages", "gain", "gain_ci", "p", "p_method", "p_holm", "p_bh", "signatures", "malformed"}
)


def read_task(path):
    """The subclass of `Task` that a Python file holds. Runs the file. Raises InputError."""
    name = place_of(path)
    if not os.path.isfile(path):  # False, too, for what can be no path
        raise InputError(f"task {name} is no file here; name one that holds a subclass of midalign.tasks.base.Task.")
    spec = importlib.util.spec_from_file_location(f"midalign_task_{Path(path).stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file does
        own = isinstance(error, SyntaxError)
        line = (error.lineno or 1) if own else traceback.extract_tb(error.__traceback__)[-1].lineno
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"task {name} cannot be read, line {line}: {reason}; mend it.") from error
    found = [kind for kind in vars(module).values() if _is_own(kind, module)]
    if len(found) != 1:
        raise InputError(f"task {name} holds {len(found)} subclasses of midalign.tasks.base.Task; leave one in it.")
    problem = _problem(found[0])
    if problem:
        raise InputError(f"task {name}: {found[0].__name__} {problem}.")
    found[0].sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return found[0]


def _problem(kind):
    """Why rows and reports could not do with a task, or None."""
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


def _is_own(kind, module):
    return isinstance(kind, type) and issubclass(kind, Task) and kind.__module__ == module.__name__

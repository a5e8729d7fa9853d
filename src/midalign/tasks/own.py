"""A task in a file of the user's own."""

import importlib.util
import traceback
from pathlib import Path

from midalign.errors import InputError
from midalign.tasks.base import Task
from midalign.texts import place_of


def read_task(path):
    """The subclass of `Task` that a Python file holds. Runs the file. Raises InputError."""
    name = place_of(path)
    if not Path(path).is_file():
        raise InputError(f"task {name} is no file here; name one that holds a subclass of midalign.tasks.base.Task.")
    spec = importlib.util.spec_from_file_location(f"midalign_task_{Path(path).stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file does
        line = traceback.extract_tb(error.__traceback__)[-1].lineno if error.__traceback__ else "?"
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"task {name} cannot be read, line {line}: {reason}; mend it.") from error
    found = [kind for kind in vars(module).values() if _is_own(kind, module)]
    if len(found) != 1:
        raise InputError(f"task {name} holds {len(found)} subclasses of midalign.tasks.base.Task; leave one in it.")
    return found[0]


def _is_own(kind, module):
    return isinstance(kind, type) and issubclass(kind, Task) and kind.__module__ == module.__name__

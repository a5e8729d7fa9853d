"""What the record of a run, a checkpoint or an exported model says that it has learned, and with which seed.

A run is a `runs.Run`, of which only the folders are looked at.
"""

import json
from pathlib import Path
from typing import NamedTuple

from midalign.errors import InputError
from midalign.tasks import OPTIONS, recalled
from midalign.texts import place_of

EXPORTED = "export.json"
RECORDS = ("run.json", "midalign.json")  # of a run, of one of its checkpoints
# What reading a record raises where none is there, or an older one, or one that is not ours.
NO_RECORD = (OSError, ValueError, LookupError, TypeError, AttributeError)


class Recorded(NamedTuple):
    """A task in a record: its name or the path of its file, what it asked, None where that is not said, and the keys of
    `tasks.OPTIONS` that the recipe had.
    """

    name: str
    instruction: str | None
    options: dict


def all_recorded(run):
    """The tasks in the record of a run, a checkpoint or an exported model, in their order; [] without one."""
    try:
        return _recorded(_record(run))
    except NO_RECORD:
        return []


def recorded(run, task=None):
    """One of `all_recorded`, None without.   task: its name or the path of its file; the first when None."""
    each = all_recorded(run)
    return next((own for own in each if task is None or Path(own.name).name == Path(task).name), None)


def learned(run, task=None):
    """`recorded` as a `tasks.base.Task`, which asks as it did in training.

    Raises InputError for one in a file where `task` is None: it is not read, since a folder may be somebody else's, and
    a task in a file is code.
    """
    found = recorded(run, task)
    if not found:
        return None
    if task is None and found.name.endswith(".py"):
        raise InputError(
            f"{run.name} has learned the task in {place_of(found.name)}; give --task, the file to ask and score by."
        )
    return recalled(task or found.name, found.instruction, found.options)


def seed_of(run):
    """The seed that the record of a run or an exported model has; None without."""
    try:
        return int(_record(run)["recipe"]["seed"])
    except NO_RECORD:
        return None


def trained_as(run):
    """What an exported model keeps of its run's record, in the record's form: the seed, and how the tasks ask.

    Where data and folders lie stays behind: a model may go to the hub.   None where there is no record.
    """
    try:
        record = _record(run)
        each = _recorded(record)
        tasks = [{"name": Path(own.name).name, "instruction": own.instruction} for own in each]
        options = each[0].options if each else {}
        return {"recipe": {"seed": int(record["recipe"]["seed"]), **options}, "tasks": tasks}
    except NO_RECORD:
        return None


def _recorded(record):
    recipe = record.get("recipe") if isinstance(record.get("recipe"), dict) else {}
    options = {key: recipe[key] for key in OPTIONS if _is_text(recipe.get(key))}
    return [
        Recorded(
            str(own.get("task") or own.get("name") or "slots"),  # slots say no name in a checkpoint
            own["instruction"] if isinstance(own.get("instruction"), str) else None,
            options,
        )
        for own in record.get("tasks", ())
    ]


def _is_text(value):
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _record(run):
    """run.json, or a checkpoint's seal; in the folder of an exported model `trained_as`, which export.json has."""
    folder = Path(run.adapter or run.path)
    for name in RECORDS:
        if (folder / name).is_file():
            return json.loads((folder / name).read_text(encoding="utf-8"))
    return json.loads((folder / EXPORTED).read_text(encoding="utf-8"))["trained_as"]

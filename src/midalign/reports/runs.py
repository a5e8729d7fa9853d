"""A run as its folder tells it: what was logged, what it was made from, what it scored; nothing of it is run."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from midalign.errors import InputError
from midalign.files import parsed, whole
from midalign.recipe import read_recipe
from midalign.shipped import is_recipe
from midalign.texts import place_of, shown
from midalign.training.checkpoints import NAME as CHECKPOINT
from midalign.training.checkpoints import by_step, read_seal
from midalign.training.folder import RUNNING
from midalign.training.record import RECORD

STATE = "trainer_state.json"
MOST = 1 << 28  # bytes of one of these files: a log of a million lines
LAST_STEP = 1e12  # what is beyond is no step
DEEPEST = 20  # levels of a record; ours have 4
HIGHEST = 1e30  # what is beyond, or below the same of the other sign, is as good as infinite


@dataclass(frozen=True)
class Logged:
    """A run and its log."""

    name: str
    path: Path
    curves: dict  # {quantity: [(step, value)]}, in order of steps; a value may be NaN or infinite
    ends: dict  # {figure: value} of what is logged once, at the end
    record: dict  # run.json, of a run under way the seal of its checkpoint; {} without either
    state: str  # how far it has come, in words
    notes: tuple  # sentences about what of the folder could not be used


def find_all(arguments):
    """[Logged] with names that differ: the ends of their paths, as long as needed. Raises InputError."""
    runs = [find(argument) for argument in arguments]
    paths = [run.path.resolve() for run in runs]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice:
        raise InputError(f"{place_of(twice)} is named twice; name each run once.")
    return [replace(run, name=_name(path, paths)) for run, path in zip(runs, paths, strict=True)]


def _name(path, paths):
    """The shortest end of a path that no other has; of a checkpoint with the folder above."""
    for length in range(1 + bool(CHECKPOINT.fullmatch(path.name)), len(path.parts)):
        ends = [other.parts[-length:] for other in paths]
        if ends.count(path.parts[-length:]) == 1:
            return "/".join(path.parts[-length:])
    return str(path)


def find(argument):
    """The run that a folder, or the recipe that was trained, stands for. Raises InputError where it is none."""
    folder = Path(argument)
    if is_recipe(str(argument)):
        folder = Path(read_recipe([argument])[1].output_dir)
        if not folder.is_dir():
            raise InputError(f"{argument} has written nothing to {folder} yet; first run `midalign train {argument}`.")
    elif not os.path.isdir(folder):  # which is False, not an error, where one may not look
        what = "is a file" if os.path.lexists(folder) else "is no folder here"
        raise InputError(f"{place_of(folder)} {what}; name the output_dir of a run, or its recipe.")
    state, place, notes = _newest_log(folder)
    seals = (read_seal(sealed) for sealed in (folder, *by_step(folder)))
    record = _object(folder / RECORD, notes) or next(filter(None, seals), {})
    if _is_deep(record):
        notes.append(f"{place_of(folder)} has a record that is nested over {DEEPEST} times; passed over.")
        record = {}
    if state is None and not record:
        raise InputError(_why_no_run(folder, notes))
    history = (state or {}).get("log_history")
    curves, ends = quantities(history if isinstance(history, list) else [])
    if not curves:
        notes.append(f"{place_of(folder)} has no log yet.")
    return Logged(folder.resolve().name, folder, curves, ends, record, _how_far(folder, state, place), tuple(notes))


def _newest_log(folder):
    """(what trainer_state.json says or None, its folder or None, notes on those that cannot be read).

    The folder's own, which is written at the end, else that of its newest checkpoint.
    """
    notes = []
    for place in (folder, *by_step(folder)):
        state = _object(place / STATE, notes)
        if state is not None:
            return state, place, notes
    return None, None, notes


def _object(path, notes):
    """The object in a JSON file; None without one, with a note where there is a file."""
    if not os.path.lexists(path):
        return None
    try:
        found = parsed(whole(path, MOST).decode("utf-8"))
        if isinstance(found, dict):
            return found
        reason = "holds no object"
    except InputError as error:
        reason = f"cannot be read ({error})"
    except Exception as error:  # what is cut off, or was never JSON
        reason = f"is not whole ({type(error).__name__})"
    notes.append(f"{place_of(path)} {reason}; passed over.")
    return None


def _is_deep(value):
    level = [value]
    for _ in range(DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [own for values in inner for own in values]
    return any(isinstance(one, dict | list) for one in level)


def _why_no_run(folder, notes):
    name = place_of(folder)
    if (folder / RUNNING).is_file():
        return f"{name} has no checkpoint yet, and a run logs into its checkpoints; wait for its first (save_steps)."
    if notes:
        return f"{notes[0].removesuffix('; passed over.')}; {name} has no other log: name the folder of another run."
    below = sorted(path.parent.name for file in (STATE, RECORD) for path in folder.glob(f"*/{file}"))
    runs = list(dict.fromkeys(below))[:3]
    hint = f"its folders {', '.join(map(shown, runs))} do: name those" if runs else "name the output_dir of a run"
    return f"{name} holds no {STATE}, no checkpoint and no {RECORD}; {hint}."


def _how_far(folder, state, place):
    if state is None:
        return "no log"
    step, last = (state.get(key) for key in ("global_step", "max_steps"))
    of = f" of {last:,}" if isinstance(last, int) and last > 0 else ""
    steps = f"step {step:,}{of}" if isinstance(step, int) else "no step"
    if place == folder:
        return steps
    going = "under way or cut off" if (folder / RUNNING).is_file() else "no end was written"
    return f"{steps}, {going}: the log is that of {place.name}"


def quantities(history):
    """({quantity: [(step, value)]}, {figure logged once: value}) of a log_history.

    What stands in one entry only, at the last step, is no curve. Entries without a step, and values that are no
    numbers, are left out.
    """
    curves = {}
    for entry in history:
        step = _number(entry.get("step")) if isinstance(entry, dict) else None
        if step is None or not 0 <= step <= LAST_STEP:
            continue
        for key, value in entry.items():
            value = _number(value)
            if value is not None and key not in ("step", "epoch"):
                curves.setdefault(str(key), []).append((step, value))
    ends = {key: of[0][1] for key, of in curves.items() if len(of) == 1 and key.startswith(("train_", "total_"))}
    return {key: sorted(of, key=lambda pair: pair[0]) for key, of in curves.items() if key not in ends}, ends


def _number(value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if abs(value) > HIGHEST:
        return math.inf if value > 0 else -math.inf
    return float(value)

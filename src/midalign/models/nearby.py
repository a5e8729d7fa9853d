"""A name that stands for no model here, and the folders that it may have meant."""

import difflib
import itertools
import os
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.utils import HFValidationError, validate_repo_id

from midalign.errors import InputError
from midalign.shipped import is_recipe
from midalign.texts import shown

MODEL_FILES = ("adapter_config.json", "config.json")
DEPTH, MOST_FOLDERS = 3, 2_000  # how far to look: a slip of the pen must not read a whole disk


def require_model_name(name):
    """Refuse what is neither recipe nor model folder nor a name to ask the hub for, at once and without a network.

    A name in the hub's form passes, unless it is close to a model folder here and looks like one itself: a bare name,
    or one whose first part is a folder here, that is not in the hub's cache. Raises InputError.
    """
    if _is_model(name) or is_recipe(name):
        return
    if name and os.path.exists(name):
        found = "has neither adapter_config.json nor config.json" if os.path.isdir(name) else "is a file"
        near, also = _models_below(name), "has"
    else:
        found, near, also = "is no folder here", _close(name), "is"
        local = "/" not in name or os.path.isdir(os.path.dirname(name))
        cached = _is_hub_name(name) and isinstance(try_to_load_from_cache(name, "config.json"), str)
        if cached or (_is_hub_name(name) and not (near and local)):
            return
    if near:
        found += f", but {' or '.join(shown(path, 200) for path in near[:3])} {also}"
    raise InputError(
        f"{shown(name, 200)} {found}; name a recipe, a folder with an adapter or a model, or owner/name on the hub."
    )


def _is_model(folder):
    return any(os.path.isfile(os.path.join(folder, file)) for file in MODEL_FILES)


def _is_hub_name(name):
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _close(name):
    """Model folders whose last part is nearly that of `name`, nearest first, below its parent or else below here."""
    parent, last = os.path.split(name.rstrip("/"))
    by_name = {}
    for path in _models_below(parent if os.path.isdir(parent) else "."):
        by_name.setdefault(Path(path).name.casefold(), []).append(path)
    return [
        path for close in difflib.get_close_matches(last.casefold(), by_name, cutoff=0.75) for path in by_name[close]
    ]


def _models_below(folder):
    """Paths of the model folders at most `DEPTH` levels below `folder`, hidden ones left out, in order."""
    found, top = [], len(Path(folder).parts)
    for path, folders, _ in itertools.islice(os.walk(folder), MOST_FOLDERS):
        deep = len(Path(path).parts) - top == DEPTH
        folders[:] = [] if deep else sorted(one for one in folders if not one.startswith("."))
        if path != folder and _is_model(path):
            found.append(os.path.normpath(path))
    return found

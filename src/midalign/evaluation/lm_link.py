"""Show our tasks to lm-eval without `--include_path`: links where lm-eval looks for its own.

lm-eval's scan does not enter linked folders, so the folder is a real one with one link per YAML file. A link to
a file that is gone (midalign uninstalled) is skipped by lm-eval; pip leaves links alone when it upgrades lm-eval.
"""

import importlib.util
from contextlib import contextmanager
from pathlib import Path

from midalign.errors import InputError

LM_TASKS = Path(__file__).parent / "lm_tasks"


def link_tasks():
    """Link every task file into lm-eval's task folder, replacing older links of ours. Returns the folders there.

    Raises InputError without lm-eval, where a folder holds something that we did not put there, and where links
    cannot be made.
    """
    folders = unlink_tasks()
    for folder in folders:
        with _writing(folder):
            folder.mkdir()
            for file in sorted((LM_TASKS / folder.name).glob("*.yaml")):
                (folder / file.name).symlink_to(file)
    return folders


def unlink_tasks():
    """Undo `link_tasks`. Returns lm-eval's folders for our tasks, whether they were there or not.

    Raises InputError, as `link_tasks` does, and removes nothing then.
    """
    folders = _folders()
    there = {folder: _entries(folder) for folder in folders if folder.is_symlink() or folder.exists()}
    foreign = [entry for entries in there.values() for entry in entries if not _is_ours(entry)]
    if foreign:
        raise InputError(f"{foreign[0]} is not a link of midalign; move it away if you want ours there.")
    for folder, entries in there.items():
        with _writing(folder):
            for entry in entries:
                entry.unlink()
            folder.rmdir()
    return folders


def _entries(folder):
    with _writing(folder):
        return list(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else [folder]


@contextmanager
def _writing(folder):
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder} cannot be changed ({error.strerror}); use `lm_eval --include_path {LM_TASKS}` instead."
        ) from error


def _is_ours(entry):
    """Whether a path is a link to a task file of some midalign, installed or gone."""
    return entry.is_symlink() and entry.readlink().parts[-3:-1] == (LM_TASKS.name, entry.parent.name)


def _folders():
    tasks = require_lm_eval() / "tasks"
    return [tasks / folder.name for folder in sorted(LM_TASKS.iterdir()) if any(folder.glob("*.yaml"))]


def require_lm_eval():
    """The folder of the installed lm-eval. Raises InputError without one."""
    package = importlib.util.find_spec("lm_eval")
    if package is None:
        raise InputError('lm-eval is not installed; pip install "midalign[eval]".')
    return Path(package.submodule_search_locations[0])

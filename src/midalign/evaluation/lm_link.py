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
    """Link every task file into lm-eval's task folder, replacing older links of ours. Returns that folder.

    Raises InputError without lm-eval, where the folder holds something that we did not put there, and where links
    cannot be made.
    """
    folder = unlink_tasks()
    with _writing(folder):
        folder.mkdir()
        for file in sorted((LM_TASKS / folder.name).glob("*.yaml")):
            (folder / file.name).symlink_to(file)
    return folder


def unlink_tasks():
    """Undo `link_tasks`. Returns lm-eval's folder for our tasks, whether it was there or not.

    Raises InputError, as `link_tasks` does, and removes nothing then.
    """
    folder = _folder()
    with _writing(folder):
        if folder.is_symlink() or folder.exists():
            entries = list(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else [folder]
            foreign = [entry for entry in entries if not _is_ours(entry)]
            if foreign:
                raise InputError(f"{foreign[0]} is not a link of midalign; move it away if you want ours there.")
            for entry in entries:
                entry.unlink()
            folder.rmdir()
    return folder


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
    return entry.is_symlink() and entry.readlink().parts[-3:-1] == (LM_TASKS.name, "massive_slots")


def _folder():
    return require_lm_eval() / "tasks" / "massive_slots"


def require_lm_eval():
    """The folder of the installed lm-eval. Raises InputError without one."""
    package = importlib.util.find_spec("lm_eval")
    if package is None:
        raise InputError('lm-eval is not installed; pip install "midalign[eval]".')
    return Path(package.submodule_search_locations[0])

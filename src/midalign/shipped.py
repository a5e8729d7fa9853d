"""What travels with midalign: recipes, the pages about them, accelerate's configurations, examples."""

import os
from pathlib import Path

FOLDERS = ("recipes", "accelerate_configs", "examples")  # setup.py puts them into the package
PACKAGE = Path(__file__).parent
ROOT = PACKAGE if (PACKAGE / FOLDERS[0]).is_dir() else PACKAGE.parents[1]  # installed, or in a checkout
RECIPE = (".yaml", ".yml")


def shipped_files(folder=""):
    """{path in the repository: where it lies here} of all that is shipped, or of one folder; {} for other folders."""
    paths = [path for top in FOLDERS for path in sorted((ROOT / top).rglob("*")) if path.is_file()]
    files = {path.relative_to(ROOT).as_posix(): path for path in paths if path.suffix != ".pyc"}
    starts = (f"{folder.rstrip('/')}/", f"recipes/{folder.rstrip('/')}/") if folder else ("",)
    return {name: path for name, path in files.items() if name.startswith(starts)}


def shipped_file(name):
    """The path in the repository that a name stands for, None where it is none.

    `recipes/` in front and an ending may be left out: tiny/align, keys, accelerate_configs/ddp.
    """
    files = shipped_files()
    candidates = (f"{start}{name}{end}" for start in ("", "recipes/") for end in ("", ".yaml", ".md", ".py"))
    return next((one for one in candidates if one in files), None)


def recipe_path(name):
    """The path of a recipe: what lies here under that name, else the shipped recipe, else the name as it is."""
    if not os.path.exists(name):
        found = shipped_file(name)
        if found and found.startswith("recipes/") and found.endswith(RECIPE):
            return ROOT / found
    return Path(name)


def is_recipe(name):
    """Whether a name is that of a recipe, here or shipped, and not that of a model."""
    return name.endswith(RECIPE) or recipe_path(name).suffix in RECIPE

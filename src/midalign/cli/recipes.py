"""`midalign recipes` and `midalign new-task`: what comes with midalign, for those who have no checkout."""

import math
import re
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table

from midalign.cli.app import app
from midalign.console import console
from midalign.errors import InputError
from midalign.recipe_file import read_yaml
from midalign.shipped import RECIPE, ROOT, shipped_file, shipped_files
from midalign.texts import place_of, quoted

HARDWARE = re.compile(r"^# (?:Hardware|Measured): (.+?)[.,;](?:\s|$)", re.MULTILINE)


@app.command()
def recipes(
    names: Annotated[
        list[str] | None, typer.Argument(help="tiny/align, tiny, keys, accelerate_configs/ddp ...; all when unset.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Copy into this folder, with the repository's paths.")
    ] = None,
):
    """List the recipes that come with midalign, show some, or copy them to change them.

    `midalign train tiny/align` runs one as it is. After `midalign recipes -o FOLDER` the commands of the pages work in
    FOLDER, with `-m midalign.train` in place of `src/run_midalign.py`.
    """
    files = {path: place for name in names or [""] for path, place in _files(name).items()}
    if output:
        _copy(files, output)
    elif names:
        print("\n".join(place.read_text(encoding="utf-8") for place in files.values() if place.suffix != ".png"))
    else:
        _list(files)


@app.command("new-task")
def new_task(file: Annotated[Path, typer.Argument(help="The Python file to write, ending in .py.")]):
    """Write a task of your own to start from, in about twenty lines, and show how a recipe uses it."""
    if file.suffix != ".py":
        raise InputError(f"{place_of(file)} does not end in .py, as the file of a task must; name one such as task.py.")
    content = (ROOT / "examples" / "intents.py").read_bytes()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as new:  # a new file alone: nothing that is there is lost, not even a dead link
            new.write(content)
    except FileExistsError as error:
        raise InputError(f"{place_of(error.filename)} is there; move it away or name another file.") from error
    except OSError as error:
        raise InputError(f"{place_of(file)} cannot be written ({error.strerror}); name another file.") from error
    print(yaml.safe_dump({"task": str(file)}, allow_unicode=True, width=math.inf), end="")
    print("task_data: demo  # or a folder with <language>/{train,validation,test}.jsonl")


def _files(name):
    """{path in the repository: where it lies} of a shipped file or folder. Raises InputError."""
    path = shipped_file(name) if name else None
    files = {path: ROOT / path} if path else shipped_files(name)
    if not files:
        raise InputError(f"{quoted(name)} is not shipped; `midalign recipes` lists what is.")
    return files


def _list(files):
    table = Table(title="midalign train RECIPE", title_justify="left")
    table.add_column("recipe", no_wrap=True)  # to be copied
    for column in ("model", "task", "hardware"):
        table.add_column(column, overflow="fold")
    for path, place in files.items():
        if path.startswith("recipes/") and path.endswith(RECIPE):
            values = read_yaml(place)
            task = values.get("task", "slots")
            task = ", ".join(task) if isinstance(task, list) else task
            half = "" if values.get("align_schedule") == "sft" else " and alignment"
            hardware = HARDWARE.search(place.read_text(encoding="utf-8"))
            table.add_row(_short(path), values.get("model_name_or_path"), task + half, hardware and hardware[1])
    console().print(table)
    for what, start, end in (
        ("pages", "recipes/", ".md"),
        ("engines", "accelerate_configs/", ".yaml"),
        ("examples", "examples/", ".py"),
    ):
        some = [_short(path) for path in files if path.startswith(start) and path.endswith(end)]
        print(f"{what}: {', '.join(some)}")
    print("midalign recipes NAME shows one of these, midalign recipes NAME -o FOLDER copies it.")


def _short(path):
    return path.removeprefix("recipes/").rsplit(".", 1)[0]


def _copy(files, output):
    """Raises InputError where a file would be lost, and writes nothing then."""
    contents = {output / path: place.read_bytes() for path, place in files.items()}
    for target, content in contents.items():
        if target.exists() and not (target.is_file() and target.read_bytes() == content):
            raise InputError(f"{target} is there and different; move it away or name another folder.")
    for target, content in contents.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            raise InputError(f"{target} cannot be written ({error.strerror}); name another folder.") from error
        print(target)

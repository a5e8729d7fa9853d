"""The package as pip installs it: built from the source archive, used in an empty folder without the checkout."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from midalign import __version__
from midalign.shipped import FOLDERS

ROOT = Path(__file__).parents[1]
TOP = "MANIFEST.in README.md LICENSE CONTRIBUTING.md SECURITY.md CITATION.cff pyproject.toml setup.cfg setup.py".split()
TREES = ("src", "tests", "upstream", ".github", *FOLDERS)
JUNK = ("__pycache__", "*.egg-info")


def files_of(folder):
    files = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    return {name for name in files if not name.endswith(".pyc")}


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A copy of the checkout, so that builds leave nothing in it."""
    folder = tmp_path_factory.mktemp("source")
    for name in TOP:
        shutil.copy(ROOT / name, folder)
    for name in TREES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*JUNK))
    return folder


@pytest.fixture(scope="session")
def unpacked(source, tmp_path_factory):
    """The source archive that is made of it, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    files = files_of(source)
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (inside,) = (path for path in folder.iterdir() if path.is_dir())
    assert files <= files_of(inside)
    return inside


@pytest.fixture(scope="session")
def wheel(unpacked, tmp_path_factory):
    """The wheel that pip builds of the source archive."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, "."]
    done = subprocess.run(pip, cwd=unpacked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """The folder into which it is installed, to be put on PYTHONPATH: nothing else is changed."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", folder, wheel]
    subprocess.run(pip, check=True, capture_output=True)
    return folder


@pytest.fixture
def run(installed, tmp_path):
    """run(program or module, *arguments) -> stdout, in an empty folder.   before: a folder to import from first."""

    def run(program, *arguments, code=0, before=""):
        script = installed / "bin" / program
        start = [script] if script.exists() else [sys.executable, "-m", program]
        changed = {
            "PYTHONPATH": f"{before}:{installed}",
            "HF_DATASETS_CACHE": str(tmp_path / "cache"),
            "COLUMNS": "200",
        }
        environment = os.environ | changed
        (tmp_path / "here").mkdir(exist_ok=True)
        done = subprocess.run(
            list(map(str, [*start, *arguments])),
            cwd=tmp_path / "here",
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, done.stderr[-3000:]
        return done.stdout

    return run


def test_the_wheel_holds_every_file_of_the_package_and_all_that_is_shipped(source, wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name.removeprefix("midalign/") for name in archive.namelist() if name.startswith("midalign/")}
    shipped = {f"{folder}/{name}" for folder in FOLDERS for name in files_of(source / folder)}
    assert names == files_of(source / "src" / "midalign") | shipped
    assert {"recipes/tiny/align.yaml", "accelerate_configs/ddp.yaml", "evaluation/report.html"} < names


def test_the_wheel_names_its_program_and_its_extras(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = f"midalign-{__version__}.dist-info"
        metadata = message_from_string(archive.read(f"{inside}/METADATA").decode())
        assert "midalign = midalign.cli:main" in archive.read(f"{inside}/entry_points.txt").decode()
    assert set(metadata.get_all("Provides-Extra")) == {"eval", "qlora", "deepspeed", "flash-attn", "dev"}
    assert any(line.startswith("lm-eval") and 'extra == "eval"' in line for line in metadata.get_all("Requires-Dist"))
    assert (metadata["Version"], metadata["Requires-Python"]) == (__version__, "<3.14,>=3.11")


def test_an_installed_midalign_lists_and_copies_what_is_shipped(run, installed, tmp_path):
    assert run("midalign", "--version") == f"midalign {__version__}\n"
    assert "tiny/align" in run("midalign", "recipes")
    run("midalign", "recipes", "-o", "copy")
    copy = tmp_path / "here" / "copy"
    assert files_of(copy) == {f"{folder}/{name}" for folder in FOLDERS for name in files_of(ROOT / folder)}
    for name in files_of(copy):
        assert (copy / name).read_bytes() == (installed / "midalign" / name).read_bytes() == (ROOT / name).read_bytes()


def test_an_installed_midalign_links_its_tasks_into_lm_eval(run, installed, tmp_path):
    tasks = tmp_path / "stand-in" / "lm_eval" / "tasks"
    tasks.mkdir(parents=True)
    (tasks.parent / "__init__.py").touch()
    run("midalign", "link-tasks", before=tmp_path / "stand-in")
    theirs = installed / "midalign" / "evaluation" / "lm_tasks"
    assert {link.readlink() for link in tasks.rglob("*.yaml")} == set(theirs.rglob("*.yaml"))


SHORT = ["--max_steps", "2", "--score_rows", "3", "--task_rows", "60", "--logging_steps", "1"]


@pytest.mark.slow
def test_everything_works_from_the_wheel_in_an_empty_folder(run, installed, tmp_path):
    here = tmp_path / "here"
    assert "optimizer steps" in run("midalign", "preview", "tiny/align", *SHORT)
    assert "never aligned" in run("midalign", "train", "tiny/align", *SHORT)
    for name in ("tiny-align", "tiny-sft"):
        record = json.loads((here / "data" / name / "run.json").read_text())
        assert record["steps"] == 2 and record["commit"] is None
    run("midalign", "train", "tiny/align", "--align_layer", "9", code=2)

    options = ["--rows", "3", "--locale", "en,de", "--max-new-tokens", "8"]
    assert "en-US" in run("midalign", "evaluate", "tiny/sft", "recipes/tiny/align.yaml", *options)
    assert (here / "data" / "evaluation" / "report.html").is_file()
    answers = here / "data" / "evaluation" / "tiny-align" / "de-DE.jsonl"
    scores = json.loads(
        run("midalign", "score", answers, "--task", "intents", "--locale", "de", "--data", "demo", "--json")
    )
    assert scores["rows"] == 3

    tasks = installed / "midalign" / "evaluation" / "lm_tasks"
    model = ["--model", "hf", "--model_args", "pretrained=data/tiny-align", "--apply_chat_template", "--device", "cpu"]
    rows = ["--limit", "2", "--metadata", json.dumps({"task_data": "demo"}), "--gen_kwargs", "max_gen_toks=8"]
    assert "de-DE" in run("lm_eval", *model, "--include_path", tasks, "--tasks", "massive_intents_de-DE", *rows)

    run("midalign", "recipes", "tiny", "accelerate_configs/ddp", "-o", ".")
    launch = ["accelerate.commands.launch", "--config_file", "accelerate_configs/ddp.yaml", "--num_processes", "2"]
    launch += ["--mixed_precision", "no", "-m", "midalign.train", "tiny/sft", *SHORT, "--output_dir", "data/two"]
    run(*launch)
    record = json.loads((here / "data" / "two" / "run.json").read_text())
    assert (record["processes"], record["steps"]) == (2, 2)

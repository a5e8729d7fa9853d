"""The rules of the house: imports point down, rooms stay light, no file grows past 300 lines."""

import ast
import configparser
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import midalign
from midalign.config import MidAlignConfig
from midalign.training.trainer import MidAlignTrainer

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
FILES = sorted(SRC.rglob("*.py"))
# A room may import from rooms with a smaller number, and from itself.
FLOORS = {
    "errors": 0,
    "console": 1,
    "demo": 0,
    "languages": 0,
    "texts": 0,
    "pages": 0,
    "cards": 1,
    "shipped": 0,
    "files": 1,
    "pair_files": 2,
    "alignment": 1,
    "tasks": 3,
    "compatibility": 1,
    "kinds": 0.5,
    "mixed": 0.5,
    "layers": 0.5,
    "config": 1,
    "limits": 2,
    "recipe_file": 2,
    "data": 4,
    "recipe": 3,
    "analysis": 5,
    "evaluation": 5,
    "models": 6,
    "training": 7,
    "bench": 8,
    "reports": 8,
    "train": 8,
    "run_midalign": 9,
    "cli": 9,
}


def room(path):
    parts = path.relative_to(SRC).with_suffix("").parts
    return parts[1] if parts[0] == "midalign" and len(parts) > 1 else parts[0]


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module != "midalign" else [f"midalign.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name and name.startswith("midalign."):
                yield name.split(".")[1]


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in FLOORS], ids=lambda p: str(p.relative_to(SRC)))
def test_imports_point_down(path):
    own = room(path)
    for other in imported_rooms(path):
        assert other == own or FLOORS[other] < FLOORS[own], f"{own} must not import {other}"


def test_alignment_imports_no_other_room():
    for path in (SRC / "midalign" / "alignment").glob("*.py"):
        assert set(imported_rooms(path)) <= {"alignment"}


def test_tasks_import_neither_torch_nor_trl():
    code = (
        "import sys, midalign.tasks.slots\n"
        "heavy = {'torch', 'trl', 'transformers'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_alone_is_light_and_has_two_names_for_python():
    code = (
        "import sys, midalign\n"
        "assert {'MidAlignConfig', 'MidAlignTrainer'} <= set(dir(midalign))\n"
        "heavy = {'torch', 'trl', 'transformers', 'datasets'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SRC)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert midalign.MidAlignConfig is MidAlignConfig and midalign.MidAlignTrainer is MidAlignTrainer
    assert "MidAlignLoss" not in dir(midalign) and not hasattr(midalign, "MidAlignLoss")
    assert len((SRC / "midalign" / "__init__.py").read_text().splitlines()) <= 30  # it is no room


def test_no_source_file_passes_300_lines():
    long = {str(p.relative_to(SRC)): n for p in FILES if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by name alone, and stops at the second."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_installer_linter_ci_and_readme_name_the_same_python_versions():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lowest, above = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", setup["options"]["python_requires"]).groups())
    assert lowest >= 11  # trl asks for it
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert ruff["target-version"] == f"py3{lowest}"
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions == [f"3.{minor}" for minor in range(lowest, above)]
    assert f"Python 3.{lowest} to 3.{above - 1}" in (ROOT / "README.md").read_text(encoding="utf-8")

"""Links in a stand-in for lm-eval's folder, and lm-eval's own scan of it."""

import shutil
import sys
from pathlib import Path

import lm_eval
import pytest
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml

from midalign.errors import InputError
from midalign.evaluation import lm_link, lm_task  # noqa: F401  found while lm_eval is there
from midalign.evaluation.lm_link import LM_TASKS, link_tasks, unlink_tasks


@pytest.fixture
def harness(tmp_path, monkeypatch):
    """The folder where an lm-eval without tasks would look for them."""
    package = tmp_path / "lm_eval"
    (package / "tasks").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lm_eval")
    return package / "tasks"


def tasks_found(folder):
    return TaskIndex.build([folder])


def test_lm_eval_finds_linked_tasks_and_no_longer_after_unlinking(harness):
    assert harness / "massive_slots" in link_tasks()
    assert tasks_found(harness).keys() == TaskIndex.build([LM_TASKS]).keys()
    manager = TaskManager(include_path=str(harness), include_defaults=False, metadata={"task_data": "demo"})
    task = manager.load(["massive_slots_de-DE"])["tasks"]["massive_slots_de-DE"]
    assert task.task_docs[0]["locale"] == "de-DE"
    unlink_tasks()
    assert list(harness.iterdir()) == []
    assert tasks_found(harness) == {}


def test_linking_twice_and_unlinking_twice_change_nothing_more(harness):
    link_tasks(), link_tasks()
    assert len(list((harness / "massive_slots").iterdir())) == 53
    unlink_tasks(), unlink_tasks()


def test_lm_eval_goes_on_when_midalign_is_gone(harness, monkeypatch, tmp_path):
    installed = tmp_path / "site" / "lm_tasks"
    shutil.copytree(LM_TASKS, installed)
    monkeypatch.setattr(lm_link, "LM_TASKS", installed)
    link_tasks()
    shutil.rmtree(installed)
    assert tasks_found(harness) == {}
    monkeypatch.setattr(lm_link, "LM_TASKS", LM_TASKS)
    link_tasks()  # of a new installation, over the dead links
    assert "massive_slots_sw-KE" in tasks_found(harness)


def test_a_file_that_we_did_not_link_is_kept(harness):
    link_tasks()
    folder = harness / "massive_slots"
    theirs = folder / "massive_slots_sw-KE.yaml"
    theirs.unlink()
    theirs.write_text("task: theirs")
    for act in (link_tasks, unlink_tasks):
        with pytest.raises(InputError, match="is not a link of midalign"):
            act()
    assert theirs.read_text() == "task: theirs"
    assert (folder / "_massive_slots.yaml").is_symlink()


def test_every_folder_of_tasks_is_linked_and_none_is_touched_where_one_holds_files_of_others(
    harness, monkeypatch, tmp_path
):
    installed = tmp_path / "site" / "lm_tasks"
    for name in ("one", "two"):
        (installed / name).mkdir(parents=True)
        (installed / name / "task.yaml").write_text(f"task: {name}\nprocess_results: !function utils.f\n")
        (installed / name / "utils.py").write_text(f"def f(doc, results):\n    return '{name}'\n")
    (installed / "__pycache__").mkdir()
    monkeypatch.setattr(lm_link, "LM_TASKS", installed)
    assert link_tasks() == [harness / "one", harness / "two"]
    assert load_yaml(harness / "two" / "task.yaml")["process_results"](None, None) == "two"  # their own utils.py
    (harness / "two" / "notes").touch()
    with pytest.raises(InputError, match="two/notes is not a link"):
        unlink_tasks()
    assert (harness / "one" / "task.yaml").is_symlink()


def test_a_folder_that_cannot_be_written_is_one_sentence(harness):
    shutil.rmtree(harness)
    with pytest.raises(InputError, match="include_path"):
        link_tasks()


def test_the_real_lm_eval_has_its_tasks_where_we_look():
    assert {folder.parent for folder in lm_link._folders()} == {Path(lm_eval.__file__).parent / "tasks"}

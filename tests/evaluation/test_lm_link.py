"""Links in a stand-in for lm-eval's folder, and lm-eval's own scan of it."""

import shutil
import sys
from pathlib import Path

import lm_eval
import pytest
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import TaskIndex

from midalign.errors import InputError
from midalign.evaluation import lm_link
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
    assert link_tasks() == harness / "massive_slots"
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
    folder = link_tasks()
    theirs = folder / "massive_slots_sw-KE.yaml"
    theirs.unlink()
    theirs.write_text("task: theirs")
    for act in (link_tasks, unlink_tasks):
        with pytest.raises(InputError, match="is not a link of midalign"):
            act()
    assert theirs.read_text() == "task: theirs"
    assert (folder / "_massive_slots.yaml").is_symlink()


def test_a_folder_that_cannot_be_written_is_one_sentence(harness):
    shutil.rmtree(harness)
    with pytest.raises(InputError, match="include_path"):
        link_tasks()


def test_the_real_lm_eval_has_its_tasks_where_we_look():
    assert lm_link._folder().parent == Path(lm_eval.__file__).parent / "tasks"

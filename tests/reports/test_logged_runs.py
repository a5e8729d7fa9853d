"""What a folder tells of its run, and what is said of folders that tell nothing."""

import json
import math

import pytest
from reports_help import RECORD, history

from midalign.errors import InputError
from midalign.reports import differences
from midalign.reports.runs import find, find_all, quantities


def test_a_finished_run_has_its_log_and_its_record(write_run):
    run = find(write_run("a", history(), RECORD))
    assert run.name == "a" and run.state == "step 5 of 5" and run.notes == ()
    assert run.curves["loss/task"] == [(1, 2.0), (2, 1.0), (3, 2 / 3), (4, 0.5), (5, 0.4)]
    assert run.record == RECORD and "epoch" not in run.curves and "step" not in run.curves


def test_of_a_run_under_way_the_newest_checkpoint_that_can_be_read_is_shown(write_run):
    folder = write_run("a")
    (folder / "_running.json").write_text('{"claimed": true}')
    for step, log in ((20, history(20)), (100, history(100)), (120, '{"global_step": 120, "log_hi')):
        write_run(f"a/checkpoint-{step}", log, steps=step)
    write_run("a/checkpoint-130-mine", history(130))
    run = find(folder)
    assert run.state == "step 100 of 100, under way or cut off: the log is that of checkpoint-100"
    assert len(run.curves["loss/task"]) == 100 and run.record == {}
    (note,) = run.notes
    assert "checkpoint-120/trainer_state.json is not whole" in note and "passed over" in note


def test_what_is_logged_once_at_the_end_is_no_curve():
    log = [*history(3), {"step": 3, "train_runtime": 9.5, "total_flos": 10**15, "train_loss": 0.5}]
    curves, ends = quantities(log)
    assert set(curves) == {"loss/task", "grad_norm"}
    assert ends == {"train_runtime": 9.5, "total_flos": 1e15, "train_loss": 0.5}


def test_what_is_no_number_is_left_out_and_what_is_not_finite_stays():
    log = [
        *("no entry", {"no": 1}, {"step": "3", "x": 1}, {"step": -1, "x": 1}, {"step": math.nan, "x": 1}),
        {"step": 2, "x": math.nan, "text": "5", "flag": True, "list": [1], "huge": 10**400, "low": -(10**400)},
        {"step": 1, "x": 1},
    ]
    curves, ends = quantities(log)
    assert [step for step, _ in curves["x"]] == [1, 2] and math.isnan(curves["x"][1][1])
    assert curves["huge"] == [(2, math.inf)] and curves["low"] == [(2, -math.inf)]
    assert set(curves) == {"x", "huge", "low"} and ends == {}


def test_runs_are_named_by_as_much_of_their_path_as_tells_them_apart(write_run):
    paths = ["x/align", "y/align", "sft", "sft/checkpoint-5"]
    runs = find_all([write_run(path, history()) for path in paths])
    assert [run.name for run in runs] == paths


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no trainer_state.json, no checkpoint and no run.json; name the output_dir of a run"),
        ({"inner/run.json": "{}"}, "its folders inner do: name those"),
        ({"_running.json": "{}"}, "has no checkpoint yet, and a run logs into its checkpoints; wait for its first"),
        ({"trainer_state.json": '{"log_history": [{"st'}, "trainer_state.json is not whole (JSONDecodeError); "),
        ({"trainer_state.json": "[1, 2]"}, "trainer_state.json holds no object; "),
        ({"trainer_state.json": "[" * 100_000}, "is not whole (RecursionError); "),
        ({"trainer_state.json": "\udcff"}, "is not whole (UnicodeDecodeError); "),
        ({"trainer_state.json/x": ""}, "is a folder"),
        ({"run.json": "nothing"}, "run.json is not whole (JSONDecodeError); "),
    ],
)
def test_a_folder_that_is_no_run_is_one_sentence(tmp_path, files, message):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError) as error:
        find(folder)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_no_folder_a_file_and_a_run_named_twice_are_refused(write_run, tmp_path):
    folder = write_run("a", history())
    for argument, message in (
        (tmp_path / "none", "is no folder here; name the output_dir of a run, or its recipe."),
        (folder / "trainer_state.json", "is a file; name the output_dir"),
    ):
        with pytest.raises(InputError, match=message):
            find(argument)
    with pytest.raises(InputError, match="is named twice"):
        find_all([folder, f"{folder}/../a"])


def test_a_recipe_stands_for_its_output_dir(write_run, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"model_name_or_path: demo\ntask_data: demo\nalign_schedule: sft\noutput_dir: {tmp_path / 'out'}\n"
    )
    with pytest.raises(InputError, match=r"mine\.yaml has written nothing to .*out yet; first run `midalign train"):
        find(str(recipe))
    write_run("out", history(), RECORD)
    assert find(str(recipe)).name == "out"


def test_a_log_of_any_shape_is_read(write_run):
    for shape in ({}, {"log_history": None}, {"log_history": {"a": 1}}, {"log_history": [], "global_step": "7"}):
        run = find(write_run("a", json.dumps(shape)))
        assert run.curves == {} and "has no log yet" in run.notes[0]


def test_long_values_that_differ_only_behind_what_is_shown_differ(write_run):
    files = [f"pairs/{number:04}.jsonl" for number in range(60)]
    runs = find_all([write_run(name, history(), {"recipe": {"align_data": [*files, name]}}) for name in "ab"])
    (((key, values),), shared) = differences.recipes(runs)
    assert key == "align_data" and [some for _, some in values] == [["a"], ["b"]] and shared == []
    assert all(value.endswith("… (1,081 letters)") for value, _ in values)

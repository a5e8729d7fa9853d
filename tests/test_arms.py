"""`midalign evaluate` with several runs of an arm, and with the counts of runs in their place."""

import json
import shutil

import pytest
from peft import LoraConfig, get_peft_model
from test_cli import parrot_that_says, result
from transformers import AutoModelForCausalLM

from midalign.cli.arms import arms_of, members, require_seeds
from midalign.errors import InputError

# Of 40 rows the parrot knows all, a silent one no dates: one row in two, in three and in four.
ROWS = {
    "en-US": ["wake me at [time : nine] please", "stop the music"] * 20,
    "tr-TR": ["uyan [time : nine] please", "[date : monday] today", "music", "music"] * 10,
}


def test_an_arm_is_a_name_and_its_runs_with_commas_or_said_again():
    for told in (["task=a,b", "d"], ["task=a", "d", "task=b"]):
        found = sorted((member.arm or "", member.place) for member in members(told))
        assert found == [("", "d"), ("task", "a"), ("task", "b")]
    assert arms_of([("task", "a"), ("task", "b"), (None, "d")]) == {"task": ["a", "b"], "d": ["d"]}


def test_a_path_that_is_there_is_no_arm_and_not_several_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lr=1", "a,b"):
        (tmp_path / name).mkdir()
    assert [tuple(own) for own in members(["lr=1", "out/lr=2", "task=a,b", "task=a,c"])] == [
        (None, "lr=1"),
        (None, "out/lr=2"),
        ("task", "a,b"),
        ("task", "a"),
        ("task", "c"),
    ]


@pytest.mark.parametrize("argument", ["task=", "=a", "task=a,,b", "task=,"])
def test_an_arm_without_a_run_or_a_name_is_refused(argument):
    with pytest.raises(InputError, match="write an arm as NAME=RUN,RUN"):
        members([argument])


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ([("a", "x"), ("b", "x")], "2 runs are called x; name each once"),
        ([(None, "x"), (None, "x")], "2 runs are called x; name each once"),
        ([(None, "a"), ("a", "x")], "a run and an arm are called a"),
        ([("a", "x"), (None, "a")], "a run and an arm are called a"),
    ],
)
def test_two_of_one_name_are_refused(named, said):
    with pytest.raises(InputError, match=said):
        arms_of(named)


def test_two_runs_of_one_seed_are_no_two_seeds():
    require_seeds({"task": ["a", "b", "c", "d"]}, {"a": 1, "b": 2, "c": None, "d": None})
    with pytest.raises(InputError, match="a and c of arm task have seed 1"):
        require_seeds({"task": ["a", "b", "c"]}, {"a": 1, "b": 2, "c": 1})


@pytest.fixture
def four_runs(parrot, write_rows, tmp_path):
    """(where runs are, options) with task-1, task-2, aligned-1 and aligned-2, whose records have their seeds."""
    silent = parrot_that_says(parrot, tmp_path / "runs" / "task-1", today="<end>")
    shutil.copytree(silent, tmp_path / "runs" / "task-2")
    parrot_that_says(parrot, tmp_path / "runs" / "task-2", today="<end>", music="<end>")
    for name in ("aligned-1", "aligned-2"):
        shutil.copytree(parrot, tmp_path / "runs" / name)
    for folder in (tmp_path / "runs").iterdir():
        (folder / "run.json").write_text(json.dumps({"recipe": {"seed": int(folder.name[-1])}}))
    options = ["--task", "slots", "--supervised", "en-US", "--aligned", "tr-TR"]
    return tmp_path / "runs", ["--data", write_rows(ROWS), "--locale", "en,tr", *options]


def test_two_seeds_of_two_arms_are_compared_and_so_are_their_counts_alone(midalign, four_runs, tmp_path):
    runs, options = four_runs
    whole = [f"task={runs}/task-1,{runs}/task-2", f"aligned={runs}/aligned-2", f"aligned={runs}/aligned-1"]
    code, out, err = midalign("evaluate", *whole, *options, "--output", tmp_path / "out")
    assert code == 0, err
    scores = result(tmp_path / "out")
    assert list(scores["runs"]) == ["task", "aligned"] and scores["baseline"] == "task"
    task, aligned = (scores["runs"][arm]["languages"]["tr-TR"] for arm in ("task", "aligned"))
    assert task["each"] == {"task-1": pytest.approx(20 / 30), "task-2": pytest.approx(20 / 30)}
    assert aligned["f1"] == 1 and aligned["gain"] == pytest.approx(10 / 30)
    assert scores["runs"]["aligned"]["shared"] == [1, 2]
    assert "aligned (2 runs)" in out.replace("\n", " ") and "over seeds and utterances" in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<small>2 runs</small>" in page and "over seeds and utterances" in page

    files = {name: tmp_path / "out" / name / "counts.json" for name in ("task-1", "task-2", "aligned-1", "aligned-2")}
    assert not [word for word in ("wake", "monday", str(tmp_path)) if word in files["task-1"].read_text()]
    counts = [f"task={files['task-1']},{files['task-2']}", f"aligned={files['aligned-2']},{files['aligned-1']}"]
    shutil.rmtree(runs)
    code, again, err = midalign("evaluate", *counts, "--output", tmp_path / "again")
    assert code == 0, err
    assert "aligned (2 runs)" in again.replace("\n", " ") and "examples" not in again
    assert (tmp_path / "again" / "report.md").read_text() == (tmp_path / "out" / "report.md").read_text()
    after = result(tmp_path / "again")
    assert after["groups"] == scores["groups"] and after["examples"] == []
    for arm in ("task", "aligned"):
        for kind in ("languages", "groups", "seeds"):
            assert after["runs"][arm][kind] == scores["runs"][arm][kind]
    assert '<h2 id="examples">' not in (tmp_path / "again" / "report.html").read_text()


def test_the_seed_that_a_base_was_trained_with_leaves_no_adapter_out(midalign, four_runs, tmp_path):
    runs, options = four_runs
    base = runs / "task-1"  # of seed 1, as one of the adapters
    for seed in (1, 2):
        config = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
        folder = tmp_path / f"adapter-{seed}"
        get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
        (folder / "run.json").write_text(json.dumps({"recipe": {"seed": seed}}))
    arm = f"task={tmp_path}/adapter-1,{tmp_path}/adapter-2"
    code, _, err = midalign("evaluate", arm, *options, "--output", tmp_path / "out")
    assert code == 0, err
    scores = result(tmp_path / "out")["runs"]
    assert scores["task-1"]["seeds"] == {"task-1": None}
    assert scores["task"]["seeds"] == {"adapter-1": 1, "adapter-2": 2} and scores["task"]["shared"] == []


def test_a_run_and_the_counts_of_another_are_compared_where_they_answer_the_same_rows(midalign, four_runs, tmp_path):
    runs, options = four_runs
    assert midalign("evaluate", runs / "task-1", *options, "--output", tmp_path / "out")[0] == 0
    file = tmp_path / "task-1.json"
    shutil.copy(tmp_path / "out" / "task-1" / "counts.json", file)
    both = [f"task={file}", runs / "aligned-1"]
    code, _, err = midalign("evaluate", *both, *options, "--output", tmp_path / "both")
    assert code == 0, err
    assert result(tmp_path / "both")["runs"]["aligned-1"]["languages"]["tr-TR"]["gain"] == pytest.approx(10 / 30)
    for arguments, message in [
        ([*both, *options, "--rows", 3], "has counts of something else (other rows)"),
        ([file, "--rows", 3], "counts.json has its rows and no answers"),
        ([file, runs / "task-1", *options], "2 runs are called task-1"),
        ([tmp_path / "nowhere.json"], "nowhere.json"),
        ([file, "--task", "intents"], "has counts of something else (other task)"),
        ([file, "--max-new-tokens", 3], "has counts of something else (other max_new_tokens)"),
        ([file, "--partition", "train"], "has counts of something else (other partition)"),
    ]:
        code, _, err = midalign("evaluate", *arguments, "--output", tmp_path / "more")
        assert code == 2 and message in err, (arguments, err)
        assert len(err.strip().splitlines()) == 1


def test_a_file_of_counts_of_others_runs_no_code_and_steers_no_terminal(midalign, four_runs, tmp_path):
    runs, options = four_runs
    assert midalign("evaluate", runs / "task-1", *options, "--output", tmp_path / "out")[0] == 0
    file, code = tmp_path / "out" / "task-1" / "counts.json", tmp_path / "code.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "recipe.yaml").write_text(f"task: {code}")
    content = json.loads(file.read_text())
    for task, message in ((code, "is of a task in a file; give --task"), (tmp_path / "recipe.yaml", "task")):
        file.write_text(json.dumps({**content, "asked": content["asked"] | {"task": str(task)}}))
        status, _, err = midalign("evaluate", file, "--output", tmp_path / "again")
        assert status == 2 and message in err and not (tmp_path / "ran").exists()
    file.write_text(json.dumps(content).replace("tr-TR", "tr\\u001b[31m"))
    status, out, err = midalign("evaluate", file, "--output", tmp_path / "again")
    assert status == 0 and "\x1b[31m" not in out and "tr\\x1b[31m" in out, err

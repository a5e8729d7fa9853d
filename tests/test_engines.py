"""The same run on one process, DDP, ZeRO-2 and ZeRO-3: two processes, started by accelerate's launcher."""

import itertools
import json
from pathlib import Path

import pytest
from launcher import ENGINES, ON_CPU, launch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
LORA = ["--use_peft", "true", "--lora_r", "4", "--lora_dropout", "0.0", "--lora_target_modules", "q_proj", "v_proj"]
RECIPE = """
model_name_or_path: {model}
task_data: demo
task_rows: 64
align_data: [demo]
align_languages: [de, tr]
align_eval_pairs: 5
align_layer: 0.5
max_steps: 20
learning_rate: 0.001
gradient_checkpointing: false
save_strategy: "no"
logging_steps: 1
report_to: none
"""
CASES = list(itertools.product(["joint", "alternate"], ["lora", "full"], [1, 4]))


@pytest.fixture(scope="module")
def train(tmp_path_factory, make_model, tokenizer):
    """train(engine, {name: options}) -> the folder with one output folder a name. A step holds the same everywhere."""
    root = tmp_path_factory.mktemp("engines")
    make_model().save_pretrained(root / "model")
    tokenizer.save_pretrained(root / "model")
    (root / "recipe.yaml").write_text(RECIPE.format(model=root / "model"))

    def run(engine, options):
        processes = 1 if engine == "single" else 2
        sizes = ["--per_device_train_batch_size", 4 // processes, "--align_batch_size", 8 // processes]
        lines = [
            [root / "recipe.yaml", *ON_CPU[engine], *sizes, "--output_dir", root / engine / name, *own]
            for name, own in options.items()
        ]
        (root / f"{engine}.json").write_text(json.dumps([[str(word) for word in line] for line in lines]))
        done = launch(engine, root, HERE / "train_many.py", root / f"{engine}.json")
        assert done.returncode == 0, done.stderr[-3000:]
        return root / engine

    return run


@pytest.fixture(scope="module")
def trajectories(train):
    """trajectories(engine) -> the folder of its runs, one for each case; trained when first asked for."""
    options = {
        "-".join(map(str, case)): [
            "--align_schedule", case[0], "--gradient_accumulation_steps", str(case[2]),
            *(LORA if case[1] == "lora" else []),
        ]
        for case in CASES
    }  # fmt: skip
    folders = {}

    def of(engine):
        if engine not in folders:
            folders[engine] = train(engine, options)
        return folders[engine]

    return of


def weights(folder):
    files = [
        file for file in folder.glob("*.safetensors") if file.name in ("adapter_model.safetensors", "model.safetensors")
    ]
    return load_file(*files)


def losses(folder):
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    kept = ("loss", "loss/task", "loss/align", "align/retrieval_at_1")
    return [{key: entry[key] for key in kept if key in entry} for entry in log if "loss" in entry]


def assert_same_run(one, other, to=1e-5):
    expected = weights(one)
    found = weights(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] - value).abs().max() < to, name
    assert len(losses(one)) == len(losses(other)) > 0
    for here, there in zip(losses(one), losses(other), strict=True):
        assert there == pytest.approx(here, abs=to)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("schedule", "what", "accumulation"), CASES)
def test_two_processes_train_as_one_with_the_whole_batch(engine, schedule, what, accumulation, trajectories):
    name = f"{schedule}-{what}-{accumulation}"
    one, other = trajectories("single") / name, trajectories(engine) / name
    record = json.loads((other / "run.json").read_text())
    assert (record["engine"], record["processes"]) == (engine, 2)
    assert len(losses(other)) == 20
    assert_same_run(one, other)

"""The same run on one process, DDP, ZeRO-2 and ZeRO-3: two processes, started by accelerate's launcher."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from launcher import ENGINES, ON_CPU, launch
from safetensors.torch import load_file

from midalign.compatibility import DIAGNOSED, FEATURES

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
activation_checkpointing: false
save_strategy: "no"
logging_steps: 1
report_to: none
"""
TASKS = ("slots", "translation")
MIXED = ["--task", *TASKS, "--task_languages", "en-US", "en-de", "--task_rows", "64", "24"]
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
        (root / f"{engine}.json").write_text(
            json.dumps([[str(word).replace("OUT", str(root / engine)) for word in line] for line in lines])
        )
        done = launch(engine, root, HERE / "train_many.py", root / f"{engine}.json")
        assert done.returncode == 0, "\n".join(done.stderr.splitlines()[-80:])
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
    kept = {"loss", "loss/task", "loss/align", "align/retrieval_at_1", "eval_task", "eval_align", "train_loss"}
    kept |= {f"{what}task{sep}{task}" for what, sep in (("loss/", "/"), ("eval_", "_")) for task in TASKS}
    return [{key: entry[key] for key in entry if key in kept} for entry in log if entry.keys() & kept]


def diagnostics(folder):
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    kept = {f"diag/{what}" for what in ("retrieval_at_1/de", "retrieval_at_1/tr", "cosine_random", "effective_rank")}
    return [{key: entry[key] for key in entry if key in kept} for entry in log if entry.keys() & kept]


def assert_same_run(one, other, to=1e-5):
    expected = weights(one)
    found = weights(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] - value).abs().max() < to, name
    assert len(losses(one)) == len(losses(other)) > 0
    for here, there in zip(losses(one), losses(other), strict=True):
        assert there == pytest.approx(here, abs=to)
    if json.loads((other / "run.json").read_text())["engine"] not in DIAGNOSED:
        assert diagnostics(other) == []
        return
    for here, there in zip(diagnostics(one), diagnostics(other), strict=True):
        assert there == pytest.approx(here, abs=to)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("schedule", "what", "accumulation"), CASES)
def test_two_processes_train_as_one_with_the_whole_batch(engine, schedule, what, accumulation, trajectories):
    name = f"{schedule}-{what}-{accumulation}"
    one, other = trajectories("single") / name, trajectories(engine) / name
    record = json.loads((other / "run.json").read_text())
    assert (record["engine"], record["processes"]) == (engine.removesuffix("_all"), 2)
    assert len(losses(other)) == 21  # with the mean over the run
    assert_same_run(one, other)


# By the name of the feature in the table of compatibility: what a run of six steps is given.
VARIANTS = {
    "align_schedule joint": {"every_third": ["--align_every", "3", "--gradient_accumulation_steps", "2"]},
    "align_schedule alternate, align_only": {
        "align_only": ["--align_schedule", "align_only"],
        "align_only_lora": ["--align_schedule", "align_only", *LORA],
        "alternate": ["--align_schedule", "alternate", "--align_loss", "cka"],
    },
    "align_context task": {
        "in_prompt": ["--align_context", "task"],
        "in_prompt_lora": [
            "--align_context", "task", "--align_pooling", "last", "--eval_strategy", "steps", "--eval_steps", "3",
            "--task_eval_rows", "7", *LORA,
        ],
    },
    "align_learning_rate": {
        "own_rate": ["--align_schedule", "alternate", "--align_learning_rate", "1e-4"],
        "own_rate_lora": ["--align_schedule", "alternate", "--align_learning_rate", "1e-4", *LORA],
    },
    "align_loss multiway": {"multiway": ["--align_loss", "multiway", "--align_center", "true"]},
    "several layers in align_layer": {
        "layers": ["--align_layer", "3", "1"],
        "layers_alternate": ["--align_layer", "3", "1", "--align_schedule", "alternate"],
    },
    "align_anchor_weight": {
        "anchor": ["--align_anchor_weight", "1e3", *LORA],
        "anchor_alternate": ["--align_anchor_weight", "1e3", "--align_schedule", "alternate", *LORA],
    },
    "align_until": {"until": ["--align_until", "3"]},
    "LoRA, rsLoRA": {"rslora": [*LORA, "--use_rslora", "true"]},
    "lora_layers": {
        "lower": ["--lora_layers", "align", *LORA],
        "lower_alternate": ["--lora_layers", "align", "--align_schedule", "alternate", *LORA],
    },
    "DoRA": {"dora": [*LORA, "--use_dora", "true"]},
    "full fine-tuning": {"centred": ["--align_center", "true", "--align_symmetric", "true"]},
    "load_in_4bit": {
        "nf4": [*LORA, "--load_in_4bit", "true", "--use_bnb_nested_quant", "true"],
        "nf4_alternate": [*LORA, "--load_in_4bit", "true", "--align_schedule", "alternate"],
        "nf4_checkpointing": [*LORA, "--load_in_4bit", "true", "--activation_checkpointing", "true"],
    },
    "activation_checkpointing": {
        "checkpointing": ["--activation_checkpointing", "true", "--align_schedule", "alternate"],
        "checkpointing_lora": ["--activation_checkpointing", "true", *LORA],
        "checkpointing_said": [
            "--activation_checkpointing", "true",
            "--activation_checkpointing_kwargs", '{"use_reentrant": false}',
            *LORA,
        ],
    },
    "align_chunk_size with align_schedule joint": {
        "chunks": ["--align_chunk_size", "2"],
        "chunks_lora": ["--align_chunk_size", "2", "--activation_checkpointing", "true", *LORA],
    },
    "align_chunk_size with use_peft and without activation_checkpointing": {
        "chunks_kept": ["--align_chunk_size", "2", *LORA],
    },
    "task_tokens_per_batch": {
        "passes": ["--task_tokens_per_batch", "720", "--gradient_accumulation_steps", "2", "--share_prefix", "false"],
        "passes_lora": ["--task_tokens_per_batch", "450", *LORA],
    },
    "task_weights": {
        "mixed": [*MIXED, "--task_weights", "0.5", "2.0", "--gradient_accumulation_steps", "3"],
        "mixed_tokens": [*MIXED, "--eval_strategy", "steps", "--eval_steps", "3", "--task_eval_rows", "7", *LORA],
    },
    "align_diagnostics_steps": {
        "diagnosed": ["--align_diagnostics_steps", "2", "--gradient_accumulation_steps", "2", *LORA],
        "diagnosed_alternate": ["--align_diagnostics_steps", "2", "--align_schedule", "alternate"],
    },
    "load_best_model_at_end": {
        "best": [
            "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2",
            "--load_best_model_at_end", "true", "--eval_on_start", "true", "--task_eval_rows", "21", *LORA,
        ],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def variants(train):
    folders = {}

    def of(engine):
        if engine not in folders:
            works = engine.removesuffix("_all")
            options = {
                name: ["--max_steps", "6", *own]
                for feature in FEATURES
                if works in feature.trained
                for name, own in VARIANTS.get(feature.name, {}).items()
            }
            folders[engine] = train(engine, options)
        return folders[engine]

    return of


def test_every_feature_that_the_table_says_is_trained_on_engines_has_a_variant_here():
    several = {feature.name for feature in FEATURES if set(feature.trained) > {"single"}}
    assert several == VARIANTS.keys()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("feature", VARIANTS)
def test_what_the_table_says_works_gives_the_weights_of_one_process(engine, feature, variants):
    trained = next(one.trained for one in FEATURES if one.name == feature)
    if engine.removesuffix("_all") not in trained:
        pytest.skip("refused, see tests/test_compatibility.py")
    for name in VARIANTS[feature]:
        assert_same_run(variants("single") / name, variants(engine) / name)


@pytest.mark.parametrize("name", ["diagnosed", "diagnosed_alternate"])
def test_gradients_of_the_halves_are_those_of_one_process_under_ddp_and_left_out_under_zero(name, variants):
    def gradients(engine):
        log = json.loads((variants(engine) / name / "trainer_state.json").read_text())["log_history"]
        return [{key: value for key, value in entry.items() if key.startswith("diag/grad_")} for entry in log]

    for here, there in zip(gradients("single"), gradients("ddp"), strict=True):
        assert there == pytest.approx(here, rel=1e-3, abs=1e-5)
    assert sum(map(bool, gradients("single"))) >= 3 and not any(gradients("zero2"))


# Logs at 4 and 8, a checkpoint at 3: the resumed run must remember three steps of the first log.
PARTS = ["--max_steps", "8", "--logging_steps", "4", "--save_strategy", "steps", "--save_steps", "3", *LORA]


@pytest.fixture(scope="module")
def in_parts(train):
    folders = {}

    def of(engine):
        if engine not in folders:
            resume = ["--resume_from_checkpoint", "OUT/whole/checkpoint-3"]
            folders[engine] = train(engine, {"whole": PARTS, "resumed": [*PARTS, *resume]})
        return folders[engine]

    return of


@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_go_on_where_two_stopped(engine, in_parts):
    assert_same_run(in_parts(engine) / "whole", in_parts(engine) / "resumed", to=1e-7)
    assert json.loads((in_parts(engine) / "resumed" / "run.json").read_text())["resumed_from"].endswith("checkpoint-3")


def test_one_process_goes_on_where_two_stopped_when_its_steps_hold_the_same(in_parts, train):
    checkpoint = in_parts("ddp") / "whole" / "checkpoint-3"
    alone = train("single", {"alone": [*PARTS, "--resume_from_checkpoint", str(checkpoint)]})
    assert_same_run(in_parts("ddp") / "whole", alone / "alone")


@pytest.mark.parametrize(
    ("engine", "change", "sentence"),
    [
        (
            "ddp",
            ["--align_batch_size", "4"],
            "holds was '4 task rows and 1 x 8 pairs', is '4 task rows and 1 x 4 pairs'",
        ),
        ("zero2", [], "was written by zero2 on 2 processes and only goes on there, found single on 1"),
    ],
)
def test_what_cannot_go_on_is_refused(engine, change, sentence, in_parts, tmp_path):
    folder = in_parts(engine)
    sizes = ["--per_device_train_batch_size", "4", "--align_batch_size", "8", "--use_cpu", "true"]
    resume = ["--resume_from_checkpoint", folder / "whole" / "checkpoint-3", "--output_dir", tmp_path]
    program = [HERE.parent / "src" / "run_midalign.py", folder.parent / "recipe.yaml"]
    done = launch("single", tmp_path, *program, *PARTS, *sizes, *resume, *change)
    assert done.returncode == 2 and sentence in done.stderr


def test_gradients_of_a_pair_half_are_those_of_one_process_also_through_fully_shard(tmp_path):
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*start, str(HERE / "pair_gradients.py")],
        env=os.environ | {"PYTHONPATH": str(HERE.parent / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cases = [line.split(":")[0] for line in done.stdout.splitlines() if "of the largest entry" in line]
    assert len(cases) == 17 and sum(case.startswith("fully_shard") for case in cases) == 10


@pytest.mark.parametrize(
    ("engine", "options", "sentence"),
    [
        ("ddp", [], "2 processes were launched, but each would train alone"),
        ("ddp", ["--ddp_backend", "gloo"], "2 processes were launched, but each would train alone"),
        ("zero2", ["--use_cpu", "true"], "DeepSpeed was launched, but use_cpu makes DDP of it"),
        ("fsdp2", ["--ddp_backend", "gloo"], "FSDP was launched, but accelerate makes DDP of it on CPUs"),
    ],
)
def test_an_engine_that_accelerate_would_quietly_replace_is_refused(engine, options, sentence, recipe, tmp_path):
    path = recipe()
    path.write_text(path.read_text().replace("use_cpu: true\n", ""))
    done = launch(engine, tmp_path, HERE.parent / "src" / "run_midalign.py", path, *options)
    assert done.returncode != 0 and sentence in done.stderr
    assert not (tmp_path / "recipe" / "run.json").exists()

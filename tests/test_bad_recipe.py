"""A table of bad recipes: each ends in its own sentence and exit code 2, at once; nothing is trained or lost."""

import os
import time

import pytest

import run_midalign
from midalign.recipe import read_recipe

BASE = {
    "model_name_or_path": "{folder}/model",
    "task_data": "demo",
    "align_data": "[demo]",
    "output_dir": "{folder}/out",
}
EVALUATED = "eval_strategy: steps\neval_steps: 5\nsave_steps: 5\nload_best_model_at_end: true\n"
LORA = "use_peft: true\n"


@pytest.fixture
def refusal(tmp_path, capsys):
    """refusal(lines of YAML, *command line) -> the sentence. A line replaces the usual one of its key."""
    out = tmp_path / "out"
    (out / "checkpoint-2").mkdir(parents=True)
    for name in ("adapter_model.safetensors", "run.json", "checkpoint-2/optimizer.pt"):
        (out / name).write_text("of an earlier run")

    def run(text, *argv):
        before = contents(tmp_path)
        lines = [f"{key}: {value}" for key, value in BASE.items() if f"\n{key}:" not in f"\n{text}"]
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text("\n".join(lines).replace("{folder}", str(tmp_path)) + f"\n{text}", encoding="utf-8")
        started = time.monotonic()
        code = run_midalign.main([str(recipe), *argv])
        assert time.monotonic() - started < 5
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert code == 2 and len(lines) == 1 and "Traceback" not in captured.err and not captured.out
        assert len(lines[0]) < 800 + len(str(tmp_path))
        recipe.unlink()
        assert contents(tmp_path) == before
        return lines[0]

    return run


def contents(folder):
    """Every name below a folder, with what a file holds."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def laughs(depth):
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, depth)]
    return "a0: &a0 [x, x, x]\n" + "".join(levels)


YAML = [
    # It refers to itself, or to a multitude
    ("task_languages: &a [*a]", "nests them more than 6 deep"),
    ("lr_scheduler_kwargs: &a {x: *a}", "nests them more than 6 deep"),
    (laughs(10), "holds more than 5,000 values"),
    (laughs(4) + "task_languages: *a3", "holds more than 5,000 values"),
    ("task_languages: [" + "x, " * 6000 + "x]", "holds more than 5,000 values"),
    # It is deep or long
    ("task_languages: " + "[" * 1500, "is nested too deeply"),
    ("task_languages: " + "[" * 1500 + "]" * 1500, "is nested too deeply"),
    ("lr_scheduler_kwargs: " + "{a: " * 1500 + "1" + "}" * 1500, "is nested too deeply"),
    ("- " * 20_000, "is not valid YAML"),
    ("x" * 70_000 + ": 1", "has more than 65,536 bytes"),
    ("# " + "x" * 70_000, "has more than 65,536 bytes"),
    ("k" * 900 + ": 1", "unknown key 'kkk"),
    # Numbers
    ("seed: " + "9" * 5000, "seed: found '9999"),
    ("max_steps: -" + "9" * 5000, "max_steps: found '-999"),
    ("learning_rate: " + "9" * 5000, "learning_rate=inf; set it to a finite number"),
    ("lr_scheduler_kwargs: {num_cycles: " + "9" * 5000 + "}", "found a value in its block, which YAML cannot read"),
    ("seed: 010", "seed: found '010'; write the number in plain digits"),
    ("seed: -07", "seed: found '-07'; write"),
    ("seed: 0_1", "seed: found '0_1'; write"),
    ("seed: 1:30", "seed: found '1:30'; write"),
    ("learning_rate: 1:30.5", "learning_rate: found '1:30.5'; write"),
    ("learning_rate: 010", "learning_rate: found '010'; write"),
    ("task_rows: 00", "task_rows: found '00'; write"),
    ("pad_to_multiple_of: 010", "pad_to_multiple_of: found '010'; write"),
    ("seed: 0x10", "seed: found '0x10'; give it a whole number"),
    ("seed: 0b11", "seed: found '0b11'; give it a whole number"),
    ("seed: 0o10", "seed: found '0o10'; give it a whole number"),
    ("seed: 1e3", "seed: found '1e3'; give it a whole number"),
    ("seed: １２", "seed: found '１２'; write"),
    ("seed: ٣", "seed: found '٣'; write"),
    # Dates
    ("seed: 2024-13-45", "seed: found '2024-13-45'; give it a whole number"),
    ("lr_scheduler_kwargs: {last: 2024-13-45}", "found a value in its block, which YAML cannot read"),
    ("lr_scheduler_kwargs: {last: 2024-01-05}", "found a value that is neither text nor number"),
    ("task_languages: [2024-01-05]", 'YAML makes a number or a date of; write "2024-01-05"'),
    # Tags
    ("seed: !!timestamp nope", "seed: found 'nope'; give it a whole number"),
    ("seed: !!int abc", "seed: found 'abc'"),
    ("learning_rate: !!float abc", "learning_rate: found 'abc'"),
    ("use_cpu: !!bool maybe", "use_cpu: found 'maybe', which YAML cannot read"),
    ("seed: !!null x", "seed has no value"),
    ("seed: !!binary aGk=", "seed: found the tag 'tag:yaml.org,2002:binary'"),
    ("seed: !own 1", "seed: found the tag '!own'"),
    ("run_name: !!python/name:os.system x", "run_name: found the tag 'tag:yaml.org,2002:python/name:os.system'"),
    ("run_name: !!python/object/apply:os.system [echo]", "run_name: found the tag"),
    ("task_languages: !!python/tuple [en-US]", "task_languages: found the tag"),
    ("task_languages: !!omap [a: 1]", "task_languages: found the tag"),
    ("lr_scheduler_kwargs: !!set {a}", "lr_scheduler_kwargs: found the tag"),
    # Keys
    ("? [a]\n: 1", "has a key that is no word"),
    ("lr_scheduler_kwargs: {[a]: 1}", "has a key that is no word"),
    ("lr_scheduler_kwargs: {a: 1, a: 2}", "a appears twice"),
    ("~: 1", "unknown key ~"),
    ("no: 1", "unknown key no"),
    ("<<: {seed: 1}", "unknown key <<"),
    ("--seed: 1", "unknown key --seed"),
    ("seed=1: 1", "unknown key seed=1"),
    ("seed: 1\n---\nseed: 2", "expected a single document"),
    ("seed: *nowhere", "found undefined alias"),
    # Lists: what an item may be
    ('task_languages: [en-US, "--trust_remote_code", "true"]', "found '--trust_remote_code' in the list"),
    ('task_languages: [en-US, "--output_dir", "/elsewhere"]', "found '--output_dir' in the list"),
    ('task_languages: [en-US, "--output_dir=/elsewhere"]', "no item may start with a hyphen"),
    ('task_languages: ["-h"]', "found '-h' in the list"),
    ('align_data: ["--", "x"]', "found '--' in the list"),
    ("lora_target_modules: [q_proj, --use_dora]\nuse_peft: true", "found '--use_dora' in the list"),
    ("align_languages: [de, no]", 'found False, which YAML makes of bare words like no; write "no"'),
    ("align_languages: [yes]", 'found True, which YAML makes of bare words like yes; write "yes"'),
    ("align_languages: no", 'found False, which YAML makes of bare words like no; write "no"'),
    ("align_languages: [de, ~]", "align_languages has no value"),
    ("align_languages: [de, ]\nseed: [1, 2]", "seed: found a list; give it one value"),
    ("align_languages: [de, 3]", 'found 3, which YAML makes a number or a date of; write "3"'),
    ("align_languages: [1.5]", 'write "1.5"'),
    ("align_languages: [[de], tr]", "found a list in which an item is a list"),
    ("align_languages: [{de: tr}]", "found a list in which an item is a block"),
    ("align_languages: []", "align_languages: found an empty list"),
    ('align_languages: [de, ""]', "align_languages is empty"),
    ("align_languages: [de, tr, de]", "align_languages names de twice"),
    ("seed: [a, b]", "seed: found a list; give it one value"),
    ("seed: {a: 1}", "seed: found a block; give it one value"),
    ("report_to: [tensorboard, wandb]", "report_to: found a list; give it one value"),
    # Letters that are none
    ('run_name: "a\\0b"', "run_name: found 'a\\x00b', in which a character is no text"),
    ('run_name: "a\\ud800b"', "run_name: found 'a\\ud800b', in which"),
    ('output_dir: "a\\0b"', "output_dir: found 'a\\x00b', in which"),
    ('align_data: ["\\udfff"]', "align_data: found '\\udfff', in which"),
]


@pytest.mark.parametrize(("text", "message"), YAML, ids=[f"{text[:40]!r}" for text, _ in YAML])
def test_yaml_that_is_no_flat_recipe(text, message, refusal):
    assert message in refusal(text)


SETTINGS = [
    ("early_stopping_patience: 0\n" + EVALUATED, "early_stopping_patience=0; set it to 1 or more"),
    ("early_stopping_patience: -3\n" + EVALUATED, "early_stopping_patience=-3"),
    ("max_steps: 0", "max_steps=0; set it to 1 or more"),
    ("max_steps: -5", "max_steps=-5; set it to 1 or more"),
    ("save_steps: 0", "save_steps=0.0; set it to a whole number of steps"),
    ("save_steps: -3", "save_steps=-3.0"),
    ("save_steps: .nan", "save_steps=nan"),
    ('save_strategy: "no"\nsave_steps: 2.5', "save_steps=2.5; set it to a whole number of steps"),
    ("eval_strategy: steps\neval_steps: 0", "eval_steps=0"),
    ("logging_steps: -1", "logging_steps=-1.0"),
    ("max_grad_norm: -1", "max_grad_norm=-1.0; set it to 0 or more"),
    ("max_grad_norm: .inf", "max_grad_norm=inf; set it to a finite number"),
    (LORA + "lora_alpha: 0", "lora_alpha=0; set it to 1 or more"),
    (LORA + "lora_r: -1", "lora_r=-1"),
    (LORA + "lora_dropout: 1.0", "lora_dropout=1.0; set it to 0 or more and below 1"),
    (LORA + "lora_dropout: .nan", "lora_dropout=nan"),
    (LORA + "lora_task_type: SEQ_CLS", "lora_task_type=SEQ_CLS; set it to CAUSAL_LM"),
    ("num_train_epochs: .nan", "num_train_epochs=nan; set it to a finite number"),
    ("num_train_epochs: .inf", "num_train_epochs=inf"),
    ("num_train_epochs: 0", "num_train_epochs=0.0; set it to a number above 0"),
    ("num_train_epochs: -2", "num_train_epochs=-2.0"),
    ("adam_beta1: .nan", "adam_beta1=nan"),
    ("adam_beta1: 1.0", "adam_beta1=1.0; set it to 0 or more and below 1"),
    ("adam_beta2: -0.1", "adam_beta2=-0.1"),
    ("adam_epsilon: .inf", "adam_epsilon=inf"),
    ("adam_epsilon: 0", "adam_epsilon=0.0; set it to a number above 0"),
    ("weight_decay: .nan", "weight_decay=nan"),
    ("weight_decay: -1", "weight_decay=-1.0"),
    ("learning_rate: 1.0e+39", "learning_rate=1e+39; set it to a finite number"),
    ("router_aux_loss_coef: .nan", "router_aux_loss_coef=nan"),
    ("warmup_steps: .nan", "warmup_steps=nan"),
    ("seed: -1", "seed=-1; set it to 0 to 4294967295"),
    ("seed: 4294967296", "seed=4294967296"),
    ("data_seed: -1", "data_seed=-1"),
    ("per_device_train_batch_size: 100000000000", "per_device_train_batch_size=100000000000; set it to a number below"),
    ("align_diagnostics_steps: -1", "align_diagnostics_steps=-1; set it to 0 or more"),
    ("align_diagnostics_steps: 2.5", "align_diagnostics_steps"),
    ("dataloader_num_workers: -1", "dataloader_num_workers=-1; set it to 0 or more"),
    ("dataloader_persistent_workers: true", "dataloader_persistent_workers needs workers"),
    ("dataloader_multiprocessing_context: spawn", "dataloader_multiprocessing_context needs workers"),
    ("dataset_num_proc: 0", "dataset_num_proc=0"),
    ("save_total_limit: 0", "save_total_limit=0"),
    ("max_length: 0", "max_length=0"),
    ("pad_to_multiple_of: 0", "pad_to_multiple_of=0; set it to auto, or 1 or more"),
    ("load_best_model_at_end: true\neval_strategy: steps\neval_steps: 2\nsave_steps: 4", "make them equal"),
    ("lr_scheduler_kwargs: 3", "lr_scheduler_kwargs=3; set it to a block"),
    (
        "lr_scheduler_kwargs: {min_lr: 1}",
        "lr_scheduler_type linear: get_linear_schedule_with_warmup() got an unexpected",
    ),
    ("lr_scheduler_type: cosine\nlr_scheduler_kwargs: {num_cycles: .inf}", "every number finite"),
    ("lr_scheduler_type: cosine_with_min_lr", "lr_scheduler_type cosine_with_min_lr: One of min_lr or min_lr_rate"),
    ("lr_scheduler_type: polynomial\nlr_scheduler_kwargs: {power: x}", "lr_scheduler_type polynomial: unsupported"),
    ("lr_scheduler_type: polynomial\nlr_scheduler_kwargs: {lr_end: 5}", "must be smaller than initial lr"),
    (
        "lr_scheduler_type: inverse_sqrt\nlr_scheduler_kwargs: {timescale: 0}",
        "lr_scheduler_type inverse_sqrt: division",
    ),
    ("lr_scheduler_type: warmup_stable_decay", "missing 1 required positional argument: 'num_decay_steps'"),
    ("optim_args: nonsense", "optim_args: found 'nonsense'; write name=value"),
    ("optim_args: a=b=c", "optim_args: found 'a=b=c'; write name=value"),
    ("optim_args: foo=1", "'foo=1' changes nothing, optim adamw_torch_fused does not read it"),
    ("optim: sgd\noptim_args: momentum=0.9,foo=1", "'foo=1' changes nothing, optim sgd does not read it"),
    ("optim: sgd\noptim_args: momentum=fast", "optim sgd: could not convert string to float: 'fast'"),
    ("optim: sgd\noptim_args: momentum=-1", "optim sgd: Invalid momentum value"),
    ("optim: sgd\noptim_args: momentum=nan", "optim_args: found nan"),
    ("optim: grokadamw", "optim grokadamw: Please install grokadamw"),
    ("deepspeed: no_such.json", "existing deepspeed config"),
]


@pytest.mark.parametrize(("text", "message"), SETTINGS, ids=[text[:60] for text, _ in SETTINGS])
def test_settings_that_train_nothing_or_something_else(text, message, refusal):
    assert message in refusal(text)


TWO = "task: [slots, translation]\n"
TASKS = [
    ("task: [slots, slots]", "task names slots, slots, two of them alike; name each once"),
    ("task: [slots, mine/slots.py]", "task names slots, slots, two of them alike"),
    ("task: [slots, 7]", 'task: found 7, which YAML makes a number or a date of; write "7"'),
    ("task: []", "task: found an empty list"),
    ("task_rows: [4, 5]", "task_rows has 2 values for one task; give it one"),
    ("task_data: [demo, demo]", "task_data has 2 values for one task; give it one"),
    (TWO + "task_rows: [4, 5, 6]", "task_rows has 3 values for 2 tasks; give it one for all, or one for each"),
    (TWO + "task_data: [demo, a, b]", "task_data has 3 values for 2 tasks"),
    (TWO + "task_languages: [en-US, en-de, de-en]", "task_languages has 3 values for 2 tasks"),
    (TWO + "score_rows: [4, 0]", "score_rows=0; set it to 1 or more"),
    (TWO + "task_eval_rows: [4, 1.5]", "task_eval_rows: found '1.5'; give it a whole number"),
    (TWO + "task_rows: [4, 010]", "task_rows: found '010'; write the number in plain digits"),
    (TWO + "task_rows: [4, ~]", "task_rows has no value"),
    (TWO + 'task_languages: [en-US, "en-de,,de-en"]', "found en-de,,de-en; name each language of a task once"),
    (TWO + 'task_languages: ["en-US, en-US", en-de]', "task_languages: found en-US, en-US; name each"),
    (TWO + "task_weights: [1.0]", "task_weights has 1 numbers for 2 tasks; give it one for each"),
    (TWO + "task_weights: [1.0, 0]", "task_weights=0.0; set it to a number above 0"),
    (TWO + "task_weights: [1.0, .nan]", "task_weights=nan; set it to a finite number"),
    (TWO + "task_weights: [1.0, much]", "task_weights: found 'much'; give it a number"),
    ("task_weights: [2.0]", "task_weights is for several tasks, found one"),
    (
        TWO + "metric_for_best_model: task_entities",
        "loss, task, align, retrieval_at_1, task_slots, task_translation or",
    ),
    ("metric_for_best_model: task_slots", "metric_for_best_model=task_slots; set it to one of loss, task, align"),
]


@pytest.mark.parametrize(("text", "message"), TASKS)
def test_several_tasks_that_do_not_fit_their_keys(text, message, refusal):
    assert message in refusal(text)


PATHS = [
    ("output_dir: ''", "output_dir is empty"),
    ("output_dir: '  '", "output_dir is empty"),
    ("task_data: ''", "task_data is empty"),
    ("model_name_or_path: ''", "model_name_or_path is empty"),
    ("resume_from_checkpoint: ''", "resume_from_checkpoint is empty"),
    ("run_name: ''", "run_name is empty"),
    ("output_dir: " + "x" * 300, "300 letters long; no path is"),
    ("output_dir: " + "ü" * 200, "200 letters long; no path is"),
    ("output_dir: " + "x/" * 2500, "5,000 letters long; no path is"),
    ("task_data: " + "x" * 5000, "5,000 letters long; no path is"),
    ("align_data: [" + "x" * 5000 + "]", "5,000 letters long; no path is"),
    ("model_name_or_path: " + "x" * 5000, "5,000 letters long; no path is"),
    ("resume_from_checkpoint: " + "x" * 5000, "5,000 letters long; no path is"),
    ("score_languages: [en-US]\nbaseline_recipe: " + "x" * 5000, "5,000 letters long; no path is"),
]


@pytest.mark.parametrize(("text", "message"), PATHS, ids=[text[:40] for text, _ in PATHS])
def test_a_path_that_no_disk_takes(text, message, refusal):
    assert message in refusal(text)


@pytest.mark.parametrize("name", ["checkpoint-10", "incomplete"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_where_checkpoints_go_is_found_before_training(name, kind, refusal, tmp_path):
    place = tmp_path / "out" / name
    place.write_text("mine") if kind == "file" else place.symlink_to(tmp_path / "nowhere")
    assert f"{place} is no folder, and checkpoints go there" in refusal("seed: 1")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "is no file"),
        ("/", "recipe / is no file"),
        ("/dev/null", "recipe /dev/null is no file"),
        ("/dev/zero", "recipe /dev/zero is no file"),
        ("{folder}/pipe", "is no file"),
        ("a\0b", "recipe 'a\\x00b': is no path"),
        ("\ud800.yaml", "'\\ud800.yaml': "),
        ("x" * 5000, "File name too long"),
        ("no/such.yaml", "No such file"),
        ("{folder}/binary", "is not valid YAML"),
        ("{folder}/utf16", "is not valid YAML"),
    ],
)
def test_a_recipe_that_is_no_file(path, message, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\x00\xff\xfe\x00" * 100)
    (tmp_path / "utf16").write_bytes("seed: 1".encode("utf-16"))
    assert run_midalign.main([path.replace("{folder}", str(tmp_path))]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--seed", "010"], "seed: found '010'; write"),
        (["--seed=1:30"], "seed: found '1:30'; write"),
        (["--seed", "9" * 5000], "seed: found '999"),
        (["--output_dir", ""], "output_dir is empty"),
        (["--output-dir", "a\0b"], "output_dir: found 'a\\x00b', in which"),
        (["--run_name", "\ud800"], "run_name: found '\\ud800', in which"),
        (["--task_data", "x" * 5000], "5,000 letters long; no path is"),
        (["--" + "x" * 5000, "1"], "unknown key 'xxx"),
        (["--max_steps", "0"], "max_steps=0"),
        (["--trust-remote-code", "true"], "trust_remote_code cannot be set"),
        (["--task_languages", "en-US", "--trust_remote_code=true"], "trust_remote_code cannot be set"),
        (["--task_languages", "en-US", "en-US"], "task_languages names en-US twice"),
        (["--use_cpu", "x" * 5000], "use_cpu: found 'xxx"),
        (["--align_loss", "y" * 5000], "align_loss: found 'yyy"),
    ],
)
def test_a_command_line_with_the_same_mistakes(argv, message, refusal):
    assert message in refusal("run_name: x" if "--run_name" not in argv else "", *argv)


def test_a_value_is_what_is_written(tmp_path):
    path = tmp_path / "recipe.yaml"
    text = "\n".join(f"{key}: {value}" for key, value in BASE.items()).replace("{folder}", "x")
    path.write_text(
        text + "\nrun_name: 2024-01-05\nproject: 010\nmodel_revision: 1_0\nweight_decay: 1e-2\nseed: 1_000\n"
    )
    _, training, model = read_recipe([str(path)])
    assert (training.run_name, training.project, model.model_revision) == ("2024-01-05", "010", "1_0")
    assert (training.weight_decay, training.seed) == (0.01, 1000)

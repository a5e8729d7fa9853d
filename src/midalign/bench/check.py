"""Whether a machine does what the method needs, one line a check, on a model and data of our own.

bash recipes/gpu_check.sh            on a GPU
bash recipes/gpu_check.sh --cpu      what a CPU can, with a smaller model
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from midalign.bench.training import Bench
from midalign.console import program
from midalign.errors import InputError
from midalign.models.memory import GIB, estimate
from midalign.models.room import added_by
from midalign.models.tiny import build_tokenizer, initial_model
from midalign.recipe import read_recipe
from midalign.shipped import ROOT
from midalign.training.job import trainer_of
from midalign.training.prepare import prepare

SIZES = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 16, "num_attention_heads": 16}  # on a GPU
STEPS = 4
RECIPE = """
model_name_or_path: {folder}/model
task: intents
task_data: demo
task_rows: 64
align_data: [demo]
align_languages: [de]
align_layer: 0.5
align_batch_size: 16
max_steps: {steps}
per_device_train_batch_size: 16
activation_checkpointing: false
learning_rate: 1.0e-4
bf16: false
align_diagnostics_steps: 0
logging_steps: 1
save_strategy: "no"
report_to: none
use_cpu: {use_cpu}
output_dir: {folder}/run
"""
PADDED = ["--share_prefix", "false", "--pack_pairs", "false", "--attn_implementation", "sdpa"]
PATHS = {
    "packed rows, sdpa": "sdpa",
    "packed rows, flex attention": "flex_attention",
    "sentences end to end, flash attention": "flash_attention_2",
}
LORA = ["--use_peft", "true", "--lora_target_modules", "q_proj", "v_proj", "down_proj", "--lora_dropout", "0.0"]


class Checks:
    """What is found, said as it comes."""

    failed = 0

    def say(self, what, expected, found, right):
        self.failed += not right
        print(f"{'ok' if right else 'FAILED':9}{what}: expected {expected}, found {found}", flush=True)

    def skip(self, what, why):
        print(f"{'skipped':9}{what}: {' '.join(str(why).split())[:200]}", flush=True)


class Machine:
    """Trainers of a small recipe on one device.   name: cpu or cuda.   folder: for the model and what runs write."""

    def __init__(self, name, folder):
        self.device, self.folder, self.recipe = torch.device(name), folder, Path(folder, "recipe.yaml")
        tokenizer = build_tokenizer()
        model = initial_model(tokenizer)
        if name == "cuda":
            sizes = model.config.to_dict() | SIZES | {"num_key_value_heads": 8, "head_dim": 64}
            torch.manual_seed(0)
            model = LlamaForCausalLM(LlamaConfig(**sizes))
        model.save_pretrained(f"{folder}/model")
        tokenizer.save_pretrained(f"{folder}/model")
        self.recipe.write_text(RECIPE.format(folder=folder, steps=STEPS, use_cpu=str(name == "cpu").lower()))

    def trainer(self, *options):
        """(trainer, its MidAlignConfig, its ModelConfig, the model's configuration). Raises InputError."""
        data, training, model = read_recipe([str(self.recipe), *options])
        prepared = prepare(data, training, model, "skip")
        return trainer_of(training, model, prepared, {}), training, model, prepared.config

    def losses(self, *options):
        """The losses of each step of a run, all in one list."""
        trainer, *_ = self.trainer(*options)
        trainer.train()
        return losses(trainer.state.log_history)

    def gradients(self, *options):
        """{name: gradient} of the first micro-batch."""
        trainer, *_ = self.trainer(*options)
        step(trainer, trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True))  # with its autocast
        return gradients(trainer.model)


def step(trainer, model):
    """Forward and backward of the first micro-batch.   model: the trainer's, perhaps in a wrapper."""
    batches, items = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, trainer.args.device)
    trainer.current_gradient_accumulation_steps = 1
    trainer.training_step(model, batches[0], items)


def gradients(model):
    """{name: gradient} of what is trained."""
    return {name: weight.grad.float().clone() for name, weight in model.named_parameters() if weight.grad is not None}


def difference(found, expected):
    """The largest of all entries, relative to the largest entry."""
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    return max((found[name] - expected[name]).abs().max().item() for name in expected) / largest


def losses(log):
    """The losses of each step, from a log."""
    return [entry[key] for entry in log for key in ("loss/task", "loss/align") if key in entry]


def apart(found, expected):
    """The largest relative difference of two lists."""
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))


def check_paths(checks, machine):
    """Each way through attention has the gradients of padded batches."""
    exact = machine.gradients(*PADDED)
    for name, attention in PATHS.items():
        for dtype, allowed in (("float32", 1e-5), ("bfloat16", 0.05)):
            what = f"gradients, {name}, {dtype}"
            if "flash" in attention and (dtype == "float32" or not find_spec("flash_attn")):
                why = "its kernels are for 16 bits" if dtype == "float32" else "flash-attn is not installed"
                checks.skip(what, why)
                continue
            try:
                found = machine.gradients(
                    "--attn_implementation", attention, "--bf16", str(dtype == "bfloat16").lower()
                )
            except (InputError, ImportError) as error:  # said in one sentence: not here, or not installed
                checks.skip(what, error)
                continue
            far = difference(found, exact)
            checks.say(
                what, f"those of padded rows in float32 to {allowed:g} of the largest", f"{far:.1e}", far <= allowed
            )


def check_training(checks, machine):
    """bf16 goes the way of float32, and a step of a quantised model has losses near those of the model as it is."""
    plain, half = machine.losses(), machine.losses("--bf16", "true")
    far = apart(half, plain)
    checks.say(f"{STEPS} steps in bf16", "the losses of float32 to 2 %", f"{100 * far:.2f} %", far < 0.02)
    what = f"{STEPS} steps of QLoRA"
    if not find_spec("bitsandbytes"):
        checks.skip(what, "bitsandbytes is not installed")
        return
    far = apart(machine.losses(*LORA, "--load_in_4bit", "true"), machine.losses(*LORA))
    checks.say(what, "the losses of LoRA to 10 %", f"{100 * far:.2f} %", far < 0.1)


def check_engines(checks, machine):
    """NCCL on one device gives the gradient of none; ZeRO with one process the losses of a run alone."""
    backend = {"cuda": "nccl"}.get(machine.device.type, "gloo")
    alone = machine.gradients()
    store = torch.distributed.FileStore(f"{machine.folder}/store", 1)
    torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    trainer, *_ = machine.trainer()
    step(trainer, torch.nn.parallel.DistributedDataParallel(trainer.model))
    far = difference(gradients(trainer.model), alone)
    torch.distributed.destroy_process_group()
    checks.say(f"DDP over {backend}, one process", "the gradient without it to 1e-6", f"{far:.1e}", far <= 1e-6)
    expected = machine.losses("--bf16", "true") if backend == "nccl" else []
    for name in ("zero2", "zero3"):
        what = f"{name}, one process, bf16"
        if not expected or not find_spec("deepspeed"):
            checks.skip(
                what, "deepspeed is not installed" if expected else "two processes on a CPU: tests/test_engines.py"
            )
            continue
        output = f"{machine.folder}/{name}"
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--config_file"]
        command = [*launch, ROOT / f"accelerate_configs/{name}.yaml", "-m", "midalign.train", machine.recipe]
        command += ["--output_dir", output, "--bf16", "true"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode:
            checks.say(what, "exit code 0", f"{done.returncode}, {done.stderr.strip()[-200:]!r}", False)
            continue
        log = json.loads(Path(output, "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
        far, ran = (
            apart(losses(log), expected),
            json.loads(Path(output, "run.json").read_text(encoding="utf-8"))["engine"],
        )
        checks.say(what, f"{name}, the losses of none to 2 %", f"{ran}, {100 * far:.2f} %", ran == name and far < 0.02)


def check_bench(checks, machine):
    """Beside TRL: gradients, and the time of a task half and a pair half."""
    bench = Bench([str(machine.recipe)])
    far = bench.gradient_difference()
    checks.say("gradient of a task half beside TRL's", "1e-5 of the largest", f"{far:.1e}", far <= 1e-5)
    for half, make, plain in (("task half", bench.task, "trl"), ("pair half", bench.pair_half, "naive")):
        measured = bench.measure({who: make(who) for who in ("ours", plain)}, 5)
        ratio = measured[plain][0] / measured["ours"][0]
        checks.say(f"seconds of a {half}, {plain} / ours", "above 1", f"{ratio:.2f}", ratio > 1)


def check_memory(checks, machine):
    """The largest micro-batch takes what is estimated."""
    for name, options in (
        ("all weights", []),
        ("LoRA", LORA),
        ("LoRA, checkpoints", [*LORA, "--activation_checkpointing", "true"]),
    ):
        trainer, training, model, config = machine.trainer(*options)
        if training.activation_checkpointing:
            trainer.model.activation_checkpointing_enable()
        trainer.create_optimizer()
        tried = []
        added = added_by(lambda: tried.append(trainer._try_largest(trainer.model, STEPS)), machine.device)  # noqa: B023
        found = added + sum(weight.nbytes for weight in trainer.model.parameters())
        parts = estimate(config, model, training, tried[0].load, device=machine.device.type)
        ratio = sum(parts.values()) * GIB / found
        checks.say(
            f"memory of a step, {name}",
            f"{found / GIB:.3f} GiB to 10 %",
            f"{ratio:.2f} of it estimated",
            abs(ratio - 1) < 0.1,
        )


def check_syncs(checks, machine):
    """How often our own code waits for the GPU in a micro-batch."""
    what = "waits for the GPU in a micro-batch, in our code"
    if machine.device.type != "cuda":
        checks.skip(what, "there is no GPU")
        return
    trainer, *_ = machine.trainer("--bf16", "true")
    step(trainer, trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True))
    batches, items = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, trainer.args.device)
    inputs = trainer._prepare_inputs(batches[0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        trainer.training_step(trainer.model, inputs, items)
        torch.cuda.set_sync_debug_mode("default")
    places = Counter(
        f"{one.filename.split('site-packages/')[-1]}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)
    )
    own = {place: times for place, times in places.items() if "midalign/" in place}
    checks.say(what, "0", f"{sum(own.values())} of {sum(places.values())} {own or ''}".strip(), not own)


def main(arguments):
    """Run all checks; 1 where one has failed, 2 where there is no GPU to check."""
    name = "cpu" if "--cpu" in arguments else "cuda"
    if name == "cuda" and not torch.cuda.is_available():
        print("there is no GPU; add --cpu for what a CPU can", file=sys.stderr)
        return 2
    if name == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    shown = torch.cuda.get_device_name() if name == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{shown}; torch {torch.__version__}", flush=True)
    checks, started = Checks(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(name, folder)
        for check in (check_paths, check_training, check_engines, check_bench, check_memory, check_syncs):
            try:
                check(checks, machine)
            except Exception as error:  # one that breaks must not hide the others
                checks.say(
                    check.__name__.replace("_", " "), "no error", f"{type(error).__name__}: {str(error)[:300]}", False
                )
    minutes = (time.monotonic() - started) / 60
    print(f"{checks.failed} failed; {minutes:.1f} min", flush=True)
    return int(checks.failed > 0)


if __name__ == "__main__":
    with program():
        code = main(sys.argv[1:])
    sys.exit(code)

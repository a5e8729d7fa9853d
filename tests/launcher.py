"""Starts programs as users do: `accelerate launch`, the files of accelerate_configs/, two processes on a CPU."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
# zero3_all: as zero3, but small weights are shared out too. DeepSpeed keeps what has under 100,000 entries everywhere,
# which is all of a tiny model.
ENGINES = ("ddp", "zero2", "zero3", "zero3_all")
# DeepSpeed compiles here. In the shared folder of torch, a build that was killed at any time before leaves a lock for
# which every later one waits without end.
EXTENSIONS = tempfile.TemporaryDirectory(prefix="midalign-extensions-")
# What a recipe needs for an engine on a CPU. With use_cpu accelerate would run DDP in place of DeepSpeed.
ON_CPU = {
    "single": ["--use_cpu", "true"],
    "ddp": ["--use_cpu", "true"],
    "zero2": ["--ddp_backend", "gloo"],
    "zero3": ["--ddp_backend", "gloo"],
    "zero3_all": ["--ddp_backend", "gloo"],
}
ZERO3_ALL = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "zero_allow_untested_optimizer": True,
    "zero_optimization": {
        "stage": 3,
        "stage3_param_persistence_threshold": 0,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
}


def launch(engine, folder, *command, timeout=600):
    """Run `command` (a Python file and its arguments) under an engine.   Returns the CompletedProcess.

    After `timeout` seconds the launcher is asked to end, and ends its processes: left alone they would keep the cores
    from every test behind this one.
    """
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
        "DS_ACCELERATOR": "cpu",
        "TORCH_EXTENSIONS_DIR": EXTENSIONS.name,
    }
    environment.pop("ACCELERATE_USE_CPU", None)  # as the launcher sets it
    start = [sys.executable]
    if engine != "single":
        start += ["-m", "accelerate.commands.launch", "--num_processes", "2", "--main_process_port", str(_free_port())]
        if engine == "zero3_all":
            start += ["--config_file", _everything_shared(Path(folder))]
        else:
            start += ["--config_file", ROOT / "accelerate_configs" / f"{engine}.yaml", "--mixed_precision", "no"]
    command = list(map(str, [*start, *command]))
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
            raise TimeoutError(f"{engine} was not done after {timeout} s; its last words: {err[-2000:]}") from None
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _everything_shared(folder):
    """accelerate_configs/zero3.yaml with its settings in a file of DeepSpeed's, which knows the threshold."""
    (folder / "deepspeed.json").write_text(json.dumps(ZERO3_ALL))
    config = yaml.safe_load((ROOT / "accelerate_configs" / "zero3.yaml").read_text())
    del config["mixed_precision"]
    config["deepspeed_config"] = {"deepspeed_config_file": str(folder / "deepspeed.json"), "zero3_init_flag": True}
    (folder / "zero3_all.yaml").write_text(yaml.safe_dump(config))
    return folder / "zero3_all.yaml"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

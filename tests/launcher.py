"""Starts programs as users do: `accelerate launch`, the files of accelerate_configs/, two processes on a CPU."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
ENGINES = ("ddp", "zero2", "zero3")
# What a recipe needs for an engine on a CPU. With use_cpu accelerate would run DDP in place of DeepSpeed.
ON_CPU = {
    "single": ["--use_cpu", "true"],
    "ddp": ["--use_cpu", "true"],
    "zero2": ["--ddp_backend", "gloo"],
    "zero3": ["--ddp_backend", "gloo"],
}


def launch(engine, folder, *command, timeout=900):
    """Run `command` (a Python file and its arguments) under an engine.   Returns the CompletedProcess."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
        "DS_ACCELERATOR": "cpu",
    }
    environment.pop("ACCELERATE_USE_CPU", None)  # as the launcher sets it
    start = [sys.executable]
    if engine != "single":
        config = yaml.safe_load((ROOT / "accelerate_configs" / f"{engine}.yaml").read_text())
        config |= {"num_processes": 2, "mixed_precision": "no", "use_cpu": "--use_cpu" in ON_CPU.get(engine, [])}
        file = Path(folder, f"{engine}_on_cpu.yaml")
        file.write_text(yaml.safe_dump(config))
        port = ["--main_process_port", str(_free_port())]
        start += ["-m", "accelerate.commands.launch", "--config_file", str(file), *port]
    return subprocess.run(
        [*start, *map(str, command)], env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

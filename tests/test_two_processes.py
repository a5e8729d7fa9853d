"""Several processes train one model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
GLOO = """
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
use_cpu: true
num_machines: 1
machine_rank: 0
num_processes: 2
mixed_precision: "no"
"""


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["joint", "alternate"])
@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_two_processes_train_both_schedules(schedule, lora, recipe, tmp_path):
    path = recipe(f"align_schedule: {schedule}\n")
    if not lora:
        text = path.read_text().replace("use_peft: true\nlora_r: 4\nlora_target_modules: [q_proj, v_proj]\n", "")
        path.write_text(text)
    (tmp_path / "gloo.yaml").write_text(GLOO)
    port = ["--main_process_port", str(20_000 + os.getpid() % 20_000)]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "gloo.yaml"), *port]
    environment = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(SRC / "run_midalign.py"), str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "recipe" / "run.json").read_text())
    assert record["processes"] == 2 and record["steps"] == 2

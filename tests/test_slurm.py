"""What the SLURM script starts on each node, with stand-ins for SLURM's programs."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAND_INS = {
    "scontrol": "printf 'node7\\nnode8\\n'",
    "srun": """
[ "$1 $2" = "--cpus-per-task=64 --kill-on-bad-exit=1" ] || exit 9
shift 2
for rank in 0 1; do SLURM_NODEID=$rank "$@"; done
""",
    "accelerate": 'echo "$@"',
}
SLURM = {
    "SLURM_JOB_NODELIST": "node[7-8]",
    "SLURM_NNODES": "2",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_JOB_ID": "20123",
    "SLURM_CPUS_PER_TASK": "64",
}


@pytest.fixture
def sbatch(tmp_path):
    for name, script in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)

    def run(*words):
        environment = os.environ | SLURM | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        script = ROOT / "recipes" / "launch.slurm"
        return subprocess.run(
            ["bash", script, *words], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )

    return run


def test_each_node_starts_a_launcher_with_its_rank_and_the_first_node_as_meeting_point(sbatch):
    done = sbatch("recipes/qwen25/align.yaml", "zero3", "--seed", "2")
    assert done.returncode == 0, done.stderr
    for rank, line in enumerate(done.stdout.splitlines()):
        assert line == (
            f"launch --machine_rank {rank} --config_file accelerate_configs/zero3.yaml --num_machines 2 "
            "--num_processes 8 --main_process_ip node7 --main_process_port 20123 "
            "-m midalign.train recipes/qwen25/align.yaml --seed 2"
        )
    assert len(done.stdout.splitlines()) == 2


def test_ddp_is_the_engine_when_none_is_named(sbatch):
    assert "accelerate_configs/ddp.yaml" in sbatch("recipes/qwen25/align.yaml", "--seed", "2").stdout


def test_without_a_recipe_it_says_how_to_call_it(sbatch):
    done = sbatch()
    assert done.returncode != 0 and "usage: sbatch" in done.stderr


@pytest.mark.parametrize("file", sorted((ROOT / "accelerate_configs").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_accelerate_config_is_read_by_accelerate(file):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(file))
    kinds = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}
    assert config.distributed_type.value == kinds.get(file.stem, "NO")
    assert file.read_text().startswith(f"# accelerate launch --config_file accelerate_configs/{file.name} ")

"""What works on which engine: looked up when a recipe is read, printed in recipes/engines.md."""

import os
from collections.abc import Callable
from typing import NamedTuple

from midalign.errors import InputError

ENGINES = {"single": "one process", "ddp": "DDP", "zero2": "ZeRO-2", "zero3": "ZeRO-3", "fsdp2": "FSDP2"}
SEVERAL = ("ddp", "zero2", "zero3", "fsdp2")
ON_CPU = ("single", "ddp", "zero2", "zero3")  # accelerate runs FSDP2 on GPUs only


class Feature(NamedTuple):
    """A part of a recipe and the engines it works on.

    used: (MidAlignConfig, ModelConfig) -> bool.   trained: engines on which the tests train with it and get the weights
    that one process gets.   refused: engine -> why not, and what to do instead.   Elsewhere it has not been run.
    """

    name: str
    used: Callable
    trained: tuple = ()
    refused: dict = {}  # noqa: RUF012  never changed


def _on(engines, sentence):
    return dict.fromkeys(engines, sentence)


def _reentrant(training):
    return training.activation_checkpointing and bool(
        (training.activation_checkpointing_kwargs or {}).get("use_reentrant")
    )


def _frozen_and_kept(training, model):
    return model.use_peft and not training.activation_checkpointing


DIAGNOSED = ("single", "ddp", "zero2")
FEATURES = (
    Feature("align_schedule joint", lambda t, m: t.align_schedule == "joint", ON_CPU),
    Feature(
        "align_schedule alternate, align_only", lambda t, m: t.align_schedule in ("alternate", "align_only"), ON_CPU
    ),
    Feature(
        "align_schedule alternate or align_only with ddp_find_unused_parameters: false",
        lambda t, m: t.align_schedule in ("alternate", "align_only") and t.ddp_find_unused_parameters is False,
        refused=_on(("ddp",), "upper layers have no part in an alignment step; delete ddp_find_unused_parameters"),
    ),
    Feature("align_context task", lambda t, m: t.align_context == "task", ON_CPU),
    Feature("align_learning_rate", lambda t, m: t.align_learning_rate is not None, ON_CPU),
    Feature("align_loss multiway", lambda t, m: t.align_loss == "multiway" and t.align_schedule != "sft", ON_CPU),
    Feature(
        "several layers in align_layer",
        lambda t, m: isinstance(t.align_layer, list) and t.align_schedule != "sft",
        ON_CPU,
    ),
    Feature("align_anchor_weight", lambda t, m: t.align_anchor_weight and t.align_schedule != "sft", ON_CPU),
    Feature("align_until", lambda t, m: t.align_until is not None and t.align_schedule == "joint", ON_CPU),
    Feature("LoRA, rsLoRA", lambda t, m: m.use_peft, ON_CPU),
    Feature("lora_layers", lambda t, m: m.use_peft and m.lora_layers is not None, ON_CPU),
    Feature("DoRA", lambda t, m: m.use_dora, ON_CPU),
    Feature("full fine-tuning", lambda t, m: not m.use_peft, ON_CPU),
    Feature(
        "full fine-tuning with dtype bfloat16 or float16",
        lambda t, m: not m.use_peft and m.dtype in ("bfloat16", "float16"),
        refused=_on(
            ("single", "ddp"),
            "AdamW's small steps round to nothing in 16 bits; set dtype: float32, or use zero2 or zero3, which keep a "
            "float32 copy",
        ),
    ),
    Feature("load_in_4bit", lambda t, m: m.load_in_4bit, ON_CPU),
    Feature("load_in_8bit", lambda t, m: m.load_in_8bit),
    Feature(
        "load_in_4bit or load_in_8bit without use_peft",
        lambda t, m: (m.load_in_4bit or m.load_in_8bit) and not m.use_peft,
        refused=_on(ENGINES, "quantised weights are not trained; set use_peft: true"),
    ),
    Feature("activation_checkpointing", lambda t, m: t.activation_checkpointing and not _reentrant(t), ON_CPU),
    Feature(
        "activation_checkpointing with use_reentrant: true",
        lambda t, m: _reentrant(t),
        ("single",),
        _on(
            SEVERAL,
            "it goes through the task and the pair half in backward passes of their own, and the engine takes the "
            "first for all; delete activation_checkpointing_kwargs",
        ),
    ),
    Feature(
        "align_chunk_size with align_schedule joint",
        lambda t, m: t.align_chunk_size and t.align_schedule == "joint" and not _frozen_and_kept(t, m),
        ON_CPU,
    ),
    Feature(
        "align_chunk_size with use_peft and without activation_checkpointing",
        lambda t, m: t.align_chunk_size and t.align_schedule == "joint" and _frozen_and_kept(t, m),
        ("single", "ddp", "zero2"),
        _on(("zero3",), "frozen weights are away when a chunk is computed again; set activation_checkpointing: true"),
    ),
    Feature(
        "align_chunk_size with align_schedule alternate or align_only",
        lambda t, m: t.align_chunk_size and t.align_schedule in ("alternate", "align_only"),
        ("single",),
        _on(SEVERAL, "chunks need the task half beside the pair half; use joint or delete align_chunk_size"),
    ),
    Feature("task_tokens_per_batch", lambda t, m: t.task_tokens_per_batch, ON_CPU),
    Feature("task_weights", lambda t, m: t.task_weights, ("single", "ddp")),
    Feature("align_diagnostics_steps", lambda t, m: t.align_diagnostics_steps, DIAGNOSED),
    Feature("load_best_model_at_end", lambda t, m: t.load_best_model_at_end, ON_CPU),
)


def engine_of(training):
    """The engine that accelerate has set up.   training: MidAlignConfig.

    Raises InputError where it is not the one that was launched: on CPUs accelerate quietly takes another, or lets each
    process train alone.
    """
    state, plugin = training.distributed_state, training.deepspeed_plugin
    fsdp = _set("ACCELERATE_USE_FSDP")
    if fsdp and training.device.type == "cpu":
        raise InputError("FSDP was launched, but accelerate makes DDP of it on CPUs; use accelerate_configs/ddp.yaml.")
    if plugin is not None and (training.use_cpu or _set("ACCELERATE_USE_CPU")):
        raise InputError("DeepSpeed was launched, but use_cpu makes DDP of it; delete use_cpu, set ddp_backend: gloo.")
    if training.n_gpu > 1:
        raise InputError(
            f"one process sees {training.n_gpu} GPUs; launch a process for each with accelerate_configs/ddp.yaml, or "
            "set CUDA_VISIBLE_DEVICES=0."
        )
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched != training.world_size or (launched > 1 and state.distributed_type == "NO"):
        raise InputError(
            f"{launched} processes were launched, but each would train alone; without GPUs set use_cpu: true for DDP, "
            "ddp_backend: gloo for DeepSpeed."
        )
    if plugin is not None:
        return _known(f"zero{plugin.zero_stage}")
    if fsdp:
        return _known(f"fsdp{os.environ.get('FSDP_VERSION', 1)}")
    return "ddp" if training.world_size > 1 else "single"


def _set(variable):
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")


def _known(engine):
    if engine not in ENGINES:
        raise InputError(f"{engine} was launched; use {', '.join(ENGINES)} as in accelerate_configs/.")
    return engine


def require_compatible(training, model, engine):
    """Refuse what does not work on an engine.   model: ModelConfig.   Raises InputError with what works instead."""
    for feature in FEATURES:
        if engine in feature.refused and feature.used(training, model):
            raise InputError(f"{feature.name} does not work with {ENGINES[engine]}: {feature.refused[engine]}.")


def table():
    """The table of recipes/engines.md, in Markdown."""
    lines = ["| | " + " | ".join(ENGINES.values()) + " |", "|---" * (len(ENGINES) + 1) + "|"]
    for feature in FEATURES:
        cells = [
            "refused" if engine in feature.refused else "yes" if engine in feature.trained else "not run"
            for engine in ENGINES
        ]
        lines.append(f"| {feature.name} | {' | '.join(cells)} |")
    return "\n".join(lines)

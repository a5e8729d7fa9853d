"""Every check of a recipe that needs no model.

What a user got wrong is an `InputError`: one sentence with what was found, what is allowed and what to change.
"""

import math

from midalign.config import resolve_layer
from midalign.errors import InputError

METRICS = ("loss", "task", "align", "retrieval_at_1")


def check(data, training, model, given=frozenset()):
    """Refuse what no model is needed to refuse.   given: the keys that the user set.   Raises InputError."""
    if "output_dir" not in given:
        raise InputError("output_dir is missing; say where the adapter goes.")
    if model.model_name_or_path is None:
        raise InputError("model_name_or_path is missing; name a folder or a model of the hub.")
    if data.task_data is None:
        raise InputError("task_data is missing; name a folder, a hub data set or demo.")
    _check_ranges(data, training)
    _check_combinations(data, training, given)
    _check_adapter(model, given)
    _check_evaluation(data, training)


def _check_ranges(data, training):
    for key in ("align_temperature", "align_sampling_temperature", "align_learning_rate", "learning_rate"):
        value = getattr(training, key)
        _require(value is None or (math.isfinite(value) and value > 0), key, value, "a number above 0")
    weight = training.align_weight
    _require(math.isfinite(weight) and weight >= 0, "align_weight", weight, "0 or more")
    pairs = training.align_batch_size
    _require(pairs >= 2, "align_batch_size", pairs, "2 or more pairs, or there is no negative")
    held_out = data.align_eval_pairs
    _require(held_out >= 2, "align_eval_pairs", held_out, "2 or more, or there is no negative")
    if training.align_loss == "cka" and training.align_schedule != "sft":
        for key, value in (("align_batch_size", pairs), ("align_eval_pairs", held_out)):
            _require(value >= 4, key, value, "4 or more pairs, or align_loss cka is not defined")
    sizes = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")
    for key in ("align_every", *sizes):
        _require(getattr(training, key) >= 1, key, getattr(training, key), "1 or more")
    for holder, key in (
        (data, "task_rows"),
        (data, "task_eval_rows"),
        (data, "score_rows"),
        (training, "align_chunk_size"),
        (training, "task_tokens_per_batch"),
    ):
        value = getattr(holder, key)
        _require(value is None or value >= 1, key, value, "1 or more")
    resolve_layer(training.align_layer)


def _check_combinations(data, training, given):
    schedule = training.align_schedule
    if schedule != "sft" and not data.align_data:
        raise InputError(f"align_schedule {schedule} needs pairs; set align_data, or align_schedule: sft.")
    for key in ("align_languages", "align_eval_languages"):
        if getattr(data, key) and not data.align_data:
            raise InputError(f"{key} is set without align_data; add it or delete {key}.")
    for old in ("gradient_checkpointing", "gradient_checkpointing_kwargs"):
        new = old.replace("gradient", "activation")
        if {old, new} <= given:
            raise InputError(f"{old} is the old name of {new}, and both are set; keep {new} alone.")
    if training.align_every > 1 and schedule != "joint":
        raise InputError(f"align_every works with align_schedule joint, found {schedule}; delete align_every.")
    if training.align_learning_rate is not None and schedule != "alternate":
        raise InputError(
            f"align_learning_rate needs steps of its own, found align_schedule {schedule}; use alternate or "
            "scale the alignment loss with align_weight."
        )
    if training.align_loss != "infonce":
        for key in sorted({"align_temperature", "align_symmetric", "align_center"} & given):
            raise InputError(f"{key} belongs to align_loss infonce, found {training.align_loss}; delete it.")
    if training.align_pool_skip_first and training.align_pooling in ("last", "bos"):
        raise InputError(
            f"align_pool_skip_first averages the other tokens, found align_pooling {training.align_pooling}; "
            "use mean or weighted."
        )
    optimizer = training.optim.value
    if "layerwise" in optimizer or "lomo" in optimizer:
        raise InputError(
            f"optim {optimizer} steps inside the backward pass, but gradients of all passes add up to one step; use "
            "adamw_torch, adafactor or another that steps afterwards."
        )
    if data.baseline_recipe and not data.score_languages:
        raise InputError("baseline_recipe is for the table of score_languages; set those or delete baseline_recipe.")


def _check_adapter(model, given):
    lora = sorted(key for key in given if key.startswith("lora_") or key in ("use_dora", "use_rslora"))
    if lora and not model.use_peft and "use_peft" not in given:  # an explicit `use_peft: false` means all weights
        raise InputError(
            f"{lora[0]} is set, but use_peft is not: all weights would be trained; set use_peft: true or delete it."
        )
    bits = sorted({"bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage"} & given)
    if bits and not model.load_in_4bit:
        raise InputError(f"{bits[0]} is set, but load_in_4bit is not; set load_in_4bit: true or delete it.")


def _check_evaluation(data, training):
    if training.eval_on_start and training.eval_strategy == "no":
        raise InputError("eval_on_start needs an evaluation; set eval_strategy: steps.")
    if training.early_stopping_patience is not None and not training.load_best_model_at_end:
        raise InputError("early_stopping_patience needs a best model to keep; set load_best_model_at_end: true.")
    metric = (training.metric_for_best_model or "loss").removeprefix("eval_")
    language = metric.removeprefix("retrieval_at_1_")
    _require(
        metric in METRICS or language != metric,
        "metric_for_best_model",
        metric,
        "one of " + ", ".join(METRICS) + " or retrieval_at_1_<language>",
    )
    if metric.startswith(("align", "retrieval")) and not data.align_data:
        raise InputError(f"metric_for_best_model {metric} needs pairs; set align_data or use task.")
    measured = data.align_eval_languages or data.align_languages
    if language != metric and measured and language not in measured:
        raise InputError(f"metric_for_best_model {metric}: only {', '.join(measured)} are measured; name one of them.")


def _require(condition, key, found, allowed):
    if not condition:
        raise InputError(f"{key}={found}; set it to {allowed}.")

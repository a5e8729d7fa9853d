"""Every check of a recipe that needs no model.

What a user got wrong is an `InputError`: one sentence with what was found, what is allowed and what to change.
"""

import multiprocessing
from collections import Counter

from midalign.errors import InputError
from midalign.languages import language_of
from midalign.layers import resolve_layer
from midalign.mixed import EACH, EACH_LANGUAGES
from midalign.texts import label_of, quoted, shown

METRICS = ("loss", "task", "align", "retrieval_at_1")
PATHS = ("model_name_or_path", "task_data", "align_data", "baseline_recipe", "output_dir", "resume_from_checkpoint")
NAME_BYTES, PATH_BYTES = 255, 4_095  # of file systems and of Linux
LARGEST = 3e38  # of a float32
# What is allowed, the keys, and when it holds. A key that is not set is None.
RANGES = (
    (
        "a number above 0",
        "align_temperature align_sampling_temperature align_learning_rate learning_rate num_train_epochs adam_epsilon "
        "neftune_noise_alpha task_weights",
        lambda value: value > 0,
    ),
    (
        "0 or more",
        "align_weight align_anchor_weight weight_decay max_grad_norm warmup_steps eval_delay router_aux_loss_coef "
        "dataloader_num_workers align_diagnostics_steps",
        lambda value: value >= 0,
    ),
    (
        "1 or more",
        "align_every align_until per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps "
        "task_rows task_eval_rows score_rows align_chunk_size task_tokens_per_batch max_length early_stopping_patience "
        "save_total_limit eval_accumulation_steps dataset_num_proc dataloader_prefetch_factor ddp_timeout "
        "ddp_bucket_cap_mb lora_r lora_alpha",
        lambda value: value >= 1,
    ),
    ("0 or more and below 1", "adam_beta1 adam_beta2 lora_dropout", lambda value: 0 <= value < 1),
    (
        "a whole number of steps, or a part of the run above 0 and below 1",
        "logging_steps eval_steps save_steps",
        lambda value: 0 < value < 1 or (value >= 1 and value == int(value)),
    ),
    ("0 to 4294967295", "seed data_seed", lambda value: 0 <= value < 2**32),
    (
        "auto, or 1 or more",
        "pad_to_multiple_of",
        lambda value: value == "auto" or (str(value).isdecimal() and int(value) >= 1),
    ),
    ("CAUSAL_LM", "lora_task_type", lambda value: value == "CAUSAL_LM"),
    (
        "a block of `key: value`, every number finite",
        "lr_scheduler_kwargs",
        lambda value: isinstance(value, dict) and all(abs(v) < LARGEST for v in value.values() if isinstance(v, float)),
    ),
)
# The losses that read a key.
LOSSES = {
    "align_temperature": ("infonce", "multiway"),
    "align_center": ("infonce", "multiway"),
    "align_symmetric": ("infonce",),
}


def check(data, training, model, given=frozenset()):
    """Refuse what no model is needed to refuse.   given: the keys that the user set.   Raises InputError."""
    if "output_dir" not in given:
        raise InputError("output_dir is missing; say where the adapter goes.")
    if model.model_name_or_path is None:
        raise InputError("model_name_or_path is missing; name a folder or a model of the hub.")
    if data.task_data is None:
        raise InputError("task_data is missing; name a folder, a hub data set or demo.")
    values = {**vars(data), **vars(training), **vars(model)}
    tasks = data.each()
    _check_texts({key: values[key] for key in sorted(given)})
    _check_ranges(values, given)
    _check_combinations(data, training, model, given)
    _check_weights(training, tasks)
    _check_loading(training)
    _check_adapter(model, given)
    _check_evaluation(data, training)


def _check_texts(values):
    """Refuse texts that name nothing, paths that no disk takes, and lists that say a thing twice."""
    for key, value in values.items():
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        for text in texts:
            if not text.strip():
                raise InputError(f"{key} is empty; give it a value or delete the line.")
            longest = max(len(part.encode()) for part in text.split("/"))
            if key in PATHS and (longest > NAME_BYTES or len(text.encode()) > PATH_BYTES):
                raise InputError(f"{key}: found {quoted(text)}, {len(text):,} letters long; no path is.")
        twice = [text for text, count in Counter(texts).items() if count > 1]
        if twice and not (key in (*EACH, *EACH_LANGUAGES) and isinstance(values.get("task"), list)):
            raise InputError(f"{key} names {shown(twice[0])} twice; name it once.")


def _check_ranges(values, given):
    single = [(key, one) for key, value in values.items() for one in (value if isinstance(value, list) else [value])]
    for key, value in single:
        if type(value) is float:
            _require(abs(value) < LARGEST, key, value, "a finite number")  # not so for nan
        if type(value) is int:
            _require(abs(value) < 2**32, key, value, "a number below 4294967296")
    for allowed, keys, holds in RANGES:
        for key, value in single:
            _require(key not in keys.split() or value is None or holds(value), key, value, allowed)
    max_steps = values["max_steps"]
    _require("max_steps" not in given or max_steps == -1 or max_steps >= 1, "max_steps", max_steps, "1 or more")
    pairs, held_out = values["align_batch_size"], values["align_eval_pairs"]
    _require(pairs >= 2, "align_batch_size", pairs, "2 or more pairs, or there is no negative")
    _require(held_out is None or held_out >= 2, "align_eval_pairs", held_out, "2 or more, or there is no negative")
    if values["align_loss"] == "cka" and values["align_schedule"] != "sft":
        for key, value in (("align_batch_size", pairs), ("align_eval_pairs", held_out)):
            _require(value is None or value >= 4, key, value, "4 or more pairs, or align_loss cka is not defined")
    resolve_layer(values["align_layer"])


def _check_combinations(data, training, model, given):
    schedule = training.align_schedule
    if schedule != "sft" and not data.align_data:
        raise InputError(f"align_schedule {schedule} needs pairs; set align_data, or align_schedule: sft.")
    pivot = language_of(data.align_pivot)
    if pivot is None:
        raise InputError(
            f"align_pivot: found {shown(data.align_pivot)}; name a language by a code such as en or zh-Hant."
        )
    for key in sorted({"align_pivot", "align_revision"} & given):
        if not data.align_data:
            raise InputError(f"{key} is set without align_data; add it or delete {key}.")
    for key in ("align_languages", "align_eval_languages"):
        if getattr(data, key) and not data.align_data:
            raise InputError(f"{key} is set without align_data; add it or delete {key}.")
        for tag in getattr(data, key) or ():
            if language_of(tag) in (None, pivot):
                raise InputError(
                    f"{key}: found {shown(tag)}; name other languages than align_pivot, {pivot}, by codes such as sw "
                    "or zh-Hant."
                )
    if training.align_diagnostics_steps and not data.align_data:
        raise InputError("align_diagnostics_steps is set without align_data; add it or delete align_diagnostics_steps.")
    for old in ("gradient_checkpointing", "gradient_checkpointing_kwargs"):
        new = old.replace("gradient", "activation")
        if {old, new} <= given:
            raise InputError(f"{old} is the old name of {new}, and both are set; keep {new} alone.")
    if training.align_every > 1 and schedule != "joint":
        raise InputError(f"align_every works with align_schedule joint, found {schedule}; delete align_every.")
    until, steps = training.align_until, training.max_steps
    if until is not None and schedule not in ("joint", "sft"):
        raise InputError(f"align_until works with align_schedule joint, found {schedule}; delete align_until.")
    if until is not None and 0 < steps <= until:
        raise InputError(f"align_until={until} is not before the end, max_steps={steps}; lower it or delete it.")
    if training.align_learning_rate is not None and schedule != "alternate":
        raise InputError(
            f"align_learning_rate needs steps of its own, found align_schedule {schedule}; use alternate or "
            "scale the alignment loss with align_weight."
        )
    for key, losses in LOSSES.items():
        if key in given and training.align_loss not in losses:
            names = " and ".join(losses)
            raise InputError(f"{key} belongs to align_loss {names}, found {training.align_loss}; delete it.")
    if training.align_anchor_weight and schedule != "sft" and not model.use_peft:
        raise InputError(
            "align_anchor_weight compares with the model without its adapter, found none; set use_peft: true or delete "
            "align_anchor_weight."
        )
    if training.align_pool_skip_first and training.align_pooling in ("last", "bos"):
        raise InputError(
            f"align_pool_skip_first averages the other tokens, found align_pooling {training.align_pooling}; "
            "use mean or weighted."
        )
    if training.align_context == "task" and training.align_pooling == "bos":
        raise InputError(
            "align_context task has the same first token before every sentence, found align_pooling bos; use mean, "
            "weighted or last."
        )
    optimizer = training.optim.value
    if "layerwise" in optimizer or "lomo" in optimizer:
        raise InputError(
            f"optim {optimizer} steps inside the backward pass, but gradients of all passes add up to one step; use "
            "adamw_torch, adafactor or another that steps afterwards."
        )
    if data.baseline_recipe and not data.score_languages:
        raise InputError("baseline_recipe is for the table of score_languages; set those or delete baseline_recipe.")


def _check_weights(training, tasks):
    weights = training.task_weights
    if weights and len(tasks) == 1:
        raise InputError("task_weights is for several tasks, found one; delete it, align_weight weighs the alignment.")
    if weights and len(weights) != len(tasks):
        raise InputError(f"task_weights has {len(weights)} numbers for {len(tasks)} tasks; give it one for each.")


def _check_loading(training):
    workers = training.dataloader_num_workers
    for key in ("dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context"):
        if getattr(training, key) and not workers:
            raise InputError(f"{key} needs workers, found dataloader_num_workers 0; set that, or delete {key}.")
    way = training.dataloader_multiprocessing_context
    ways = multiprocessing.get_all_start_methods()
    _require(way is None or way in ways, "dataloader_multiprocessing_context", way, ", ".join(ways))


def _check_adapter(model, given):
    lora = sorted(key for key in given if key.startswith("lora_") or key in ("use_dora", "use_rslora"))
    if lora and not model.use_peft and "use_peft" not in given:  # an explicit `use_peft: false` means all weights
        raise InputError(
            f"{lora[0]} is set, but use_peft is not: all weights would be trained; set use_peft: true or delete it."
        )
    layers = model.lora_layers
    _require(
        layers is None or layers == "align" or (layers.isdecimal() and 0 < int(layers) < 2**31),
        "lora_layers",
        layers,
        "a number of layers, or align",
    )
    targets = model.lora_target_modules or []
    targets = [targets] if isinstance(targets, str) else targets  # text is one name, or a regular expression
    if model.use_peft and any(target.rpartition(".")[2] == "lm_head" for target in targets):
        raise InputError(
            "lora_target_modules names lm_head, whose own weight TRL takes for the loss: an adapter on it would never "
            "be trained; delete it."
        )
    bits = sorted({"bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage"} & given)
    if bits and not model.load_in_4bit:
        raise InputError(f"{bits[0]} is set, but load_in_4bit is not; set load_in_4bit: true or delete it.")


def _check_evaluation(data, training):
    if training.eval_on_start and training.eval_strategy == "no":
        raise InputError("eval_on_start needs an evaluation; set eval_strategy: steps.")
    if training.early_stopping_patience is not None and not training.load_best_model_at_end:
        raise InputError("early_stopping_patience needs a best model to keep; set load_best_model_at_end: true.")
    every, saved = training.eval_steps, training.save_steps
    if training.load_best_model_at_end and training.save_strategy == "steps" and every != saved:
        raise InputError(
            f"load_best_model_at_end needs a checkpoint of every evaluation, found eval_steps {every:g} and save_steps "
            f"{saved:g}; make them equal."
        )
    metric = (training.metric_for_best_model or "loss").removeprefix("eval_")
    language = metric.removeprefix("retrieval_at_1_")
    tasks = [f"task_{label_of(task)}" for task in data.task] if isinstance(data.task, list) else []
    _require(
        metric in METRICS or language != metric or metric in tasks,
        "metric_for_best_model",
        metric,
        "one of " + ", ".join((*METRICS, *tasks)) + " or retrieval_at_1_<language>",
    )
    if metric.startswith(("align", "retrieval")) and not data.align_data:
        raise InputError(f"metric_for_best_model {metric} needs pairs; set align_data or use task.")
    measured = [language_of(tag) for tag in data.align_eval_languages or data.align_languages or ()]
    if language != metric and measured and language not in measured:
        raise InputError(f"metric_for_best_model {metric}: only {', '.join(measured)} are measured; name one of them.")


def _require(condition, key, found, allowed):
    if not condition:
        raise InputError(f"{key}={shown(str(found))}; set it to {allowed}.")

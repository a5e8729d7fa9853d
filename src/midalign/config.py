"""The keys of a recipe, their defaults, and every check that needs no model.

Defaults live here and nowhere else. Everything that a user got wrong is an `InputError`: one sentence with
what was found, what is allowed and what to change.
"""

import math
import os
from dataclasses import dataclass, field
from typing import Literal

import torch
from trl import SFTConfig

from midalign.errors import InputError


@dataclass
class DataConfig:
    """What is learned, what is aligned, and what is scored afterwards."""

    task_data: str | None = field(
        default=None,
        metadata={
            "help": "Folder with <locale>/{train,validation,test}.jsonl or <locale>.jsonl in MASSIVE's format, a "
            "hub data set such as AmazonScience/massive, or `demo`, the embedded corpus."
        },
    )
    task_revision: str = field(
        default="refs/convert/parquet",
        metadata={"help": "Revision of a hub data set: the Parquet branch, or better a commit of it."},
    )
    task_languages: list[str] = field(
        default_factory=lambda: ["en-US"], metadata={"help": "Locales with labels, trained on."}
    )
    task_rows: int | None = field(
        default=None, metadata={"help": "Take this many training rows of each locale; all when unset."}
    )
    task_eval_languages: list[str] | None = field(
        default=None, metadata={"help": "Locales of the held-out task rows; task_languages when unset."}
    )
    task_eval_rows: int = field(default=200, metadata={"help": "Held-out task rows of each locale."})
    align_data: list[str] | None = field(
        default=None,
        metadata={
            "help": "Translation pairs: JSONL files or folders of them with id, source, target, source_lang, "
            "target_lang in each line, or `demo`."
        },
    )
    align_languages: list[str] | None = field(
        default=None, metadata={"help": "Languages aligned with English; all in align_data when unset."}
    )
    align_eval_languages: list[str] | None = field(
        default=None, metadata={"help": "Languages of the held-out pairs; align_languages when unset."}
    )
    align_eval_pairs: int = field(
        default=100, metadata={"help": "Pairs of each language always kept out of training, for eval/align."}
    )
    on_bad_row: Literal["error", "skip"] = field(
        default="error",
        metadata={
            "help": "What a row or pair that cannot be used does, a training row with the text of a test row "
            "included: error stops the run before it starts, skip leaves it out and lists it."
        },
    )
    score_languages: list[str] | None = field(
        default=None, metadata={"help": "Locales whose test rows are generated and scored after training."}
    )
    score_rows: int = field(default=200, metadata={"help": "Test rows of each locale to score."})
    baseline_recipe: str | None = field(
        default=None,
        metadata={"help": "Recipe to compare the scores with; it is run first unless its scores are there."},
    )


@dataclass
class MidAlignConfig(SFTConfig):
    """SFTConfig plus the alignment half of a micro-batch (arXiv 2502.14830)."""

    align_schedule: Literal["joint", "alternate", "sft", "align_only"] = field(
        default="joint",
        metadata={
            "help": "joint: both halves in a micro-batch; alternate: optimizer steps take turns, task first; "
            "sft: no pair half; align_only: no task half."
        },
    )
    align_every: int = field(default=1, metadata={"help": "joint only: a pair half in every n-th micro-batch."})
    align_layer: float = field(
        default=0.5,
        metadata={"help": "Decoder layer whose output is aligned, 1..L-1, or a fraction of the depth L."},
    )
    align_batch_size: int = field(default=32, metadata={"help": "Pairs in a micro-batch of one process."})
    align_gather_negatives: bool = field(
        default=True,
        metadata={"help": "The sentences of all processes are candidates; otherwise each process's own alone."},
    )
    align_sampling_temperature: float = field(
        default=10.0,
        metadata={
            "help": "A language with n pairs is drawn in proportion to n^(1/this): 1 keeps the natural shares, "
            "large is uniform."
        },
    )
    align_weight: float = field(default=1.0, metadata={"help": "Weight of the alignment loss."})
    align_loss: Literal["infonce", "mse", "cka"] = field(default="infonce", metadata={"help": "The loss."})
    align_temperature: float = field(default=0.1, metadata={"help": "InfoNCE divides cosines by this."})
    align_symmetric: bool = field(default=False, metadata={"help": "InfoNCE in both directions."})
    align_stop_gradient: bool = field(default=False, metadata={"help": "No gradient through the English side."})
    align_center: bool = field(default=False, metadata={"help": "Subtract each side's batch mean before the cosine."})
    align_pooling: Literal["mean", "last", "weighted", "bos"] = field(
        default="mean", metadata={"help": "How token states become one state per sentence."}
    )
    align_pool_skip_first: bool = field(
        default=False, metadata={"help": "Leave each sentence's first token, the attention sink, out of the mean."}
    )
    align_learning_rate: float | None = field(
        default=None, metadata={"help": "alternate only: peak learning rate of the alignment steps."}
    )

    share_prefix: bool | None = field(
        default=None,
        metadata={
            "help": "Compute the instruction that task rows of a batch share once instead of once per row; when unset, "
            "where the attention can."
        },
    )
    task_tokens_per_batch: int | None = field(
        default=None,
        metadata={
            "help": "Most tokens of the task half that go through the model at once: a micro-batch with more takes "
            "several passes, with the same gradient."
        },
    )
    pack_pairs: bool | None = field(
        default=None,
        metadata={
            "help": "Lay the sentences of a pair half end to end instead of padding them; when unset, where the "
            "attention can."
        },
    )
    align_chunk_size: int | None = field(
        default=None,
        metadata={
            "help": "Run the pair half in chunks of this many pairs, each computed again for its gradient: memory "
            "stays that of one chunk, whatever align_batch_size."
        },
    )
    # What transformers leaves out: a resumed run must remember how long it has waited for a better metric,
    restore_callback_states_from_checkpoint: bool = field(default=True, metadata={"help": "As in transformers."})
    # and a loss that is no number must be seen, not averaged away.
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "As in transformers."})
    early_stopping_patience: int | None = field(
        default=None,
        metadata={"help": "Stop after this many evaluations without a better metric_for_best_model."},
    )

    def __post_init__(self):
        metric = self.metric_for_best_model
        if metric is not None and self.greater_is_better is None:  # transformers guesses True for `task`
            self.greater_is_better = "retrieval_at_1" in metric
        if self.align_schedule in ("alternate", "align_only") and self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = True  # alignment steps leave the upper layers alone
        # TRL turns bf16 on everywhere; transformers then refuses to start on a CPU.
        if self.bf16 is None:
            on_cpu = self.use_cpu or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
            self.bf16 = not (self.fp16 or on_cpu) and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.cuda.is_available()
        super().__post_init__()


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


def resolve_layer(align_layer, depth=None):
    """The layer number that `align_layer` means in a model of `depth` layers.

    A number from 1 counts layers, one below 1 is a fraction of the depth: 0.5 of 32 layers is 16.
    Without a depth only the form is checked. Raises InputError outside 1..depth-1: state 0 is the bare
    embeddings, and the last state is what the LM head reads.
    """
    if not (math.isfinite(align_layer) and align_layer > 0) or (align_layer >= 1 and align_layer != int(align_layer)):
        raise InputError(f"align_layer={align_layer:g}; set it to a layer number or a fraction below 1.")
    if depth is None:
        return None
    layer = int(align_layer) if align_layer >= 1 else round(align_layer * depth)
    if not 1 <= layer <= depth - 1:
        raise InputError(
            f"align_layer={align_layer:g} is layer {layer}, but the model has {depth} layers; "
            f"set it to 1..{depth - 1} or a fraction below 1."
        )
    return layer

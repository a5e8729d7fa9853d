"""The keys of a recipe and their defaults, which live here and nowhere else."""

import os
import re
from dataclasses import dataclass, field
from typing import Literal

import torch
import trl
from trl import SFTConfig

from midalign.errors import InputError
from midalign.kinds import require_kinds
from midalign.mixed import EACH, each_of


@dataclass
class DataConfig:
    """What is learned, what is aligned, and what is scored afterwards.

    `task` and the keys in EACH are lists where there are several tasks, else values: see `each`.
    """

    task: list[str] = field(
        default_factory=lambda: ["slots"],
        metadata={
            "help": "What is learned: slots, intents, translation, entities, chat, or the path of a file with a task "
            "of your own; a list for several, whose rows are shuffled together."
        },
    )
    task_instruction: list[str] | None = field(
        default=None, metadata={"help": "What is asked before each row; the task's own text when unset."}
    )
    task_slots: list[str] | None = field(
        default=None,
        metadata={
            "help": "slots: the names that rows may have, or `any`; MASSIVE's 55 when unset. Where set, a language has "
            "any BCP 47 tag, and rows need no id, locale and partition."
        },
    )
    task_loss_on: Literal["last", "all"] | None = field(
        default=None,
        metadata={"help": "chat: the loss is on the last answer, or on all turns of the assistant; last when unset."},
    )
    task_language_column: str | None = field(
        default=None,
        metadata={
            "help": "chat: the column that says the language of a row; language or locale when unset, where no folder "
            "says it."
        },
    )
    task_data: list[str] | None = field(
        default=None,
        metadata={
            "help": "Folder with <locale>/{train,validation,test}.jsonl or <locale>.jsonl in MASSIVE's format, a "
            "hub data set such as AmazonScience/massive, or `demo`, the embedded corpus."
        },
    )
    task_revision: list[str] = field(
        default_factory=lambda: ["refs/convert/parquet"],
        metadata={"help": "Revision of a hub data set: the Parquet branch, or better a commit of it."},
    )
    task_languages: list[str] = field(
        default_factory=lambda: ["en-US"],
        metadata={"help": "Locales with labels, trained on; of several tasks one item each, such as en-US,de-DE."},
    )
    task_system: Literal["auto", "system", "user"] = field(
        default="auto",
        metadata={
            "help": "Where the task's instruction goes: system for a system message, user for the front of the user "
            "turn, auto for the former where the chat template has it."
        },
    )
    task_rows: list[int] | None = field(
        default=None, metadata={"help": "Take this many training rows of each locale; all when unset."}
    )
    task_eval_languages: list[str] | None = field(
        default=None, metadata={"help": "Locales of the held-out task rows; task_languages when unset."}
    )
    task_eval_rows: list[int] = field(
        default_factory=lambda: [200], metadata={"help": "Held-out task rows of each locale."}
    )
    align_data: list[str] | None = field(
        default=None,
        metadata={
            "help": "Translation pairs: files (JSONL, Parquet, TSV, CSV, two of Moses), folders of them, data sets of "
            "the hub as Helsinki-NLP/opus-100:de-en, or `demo`."
        },
    )
    align_revision: str = field(
        default="refs/convert/parquet",
        metadata={"help": "Revision of hub data sets in align_data: the Parquet branch, or better a commit of it."},
    )
    align_pivot: str = field(
        default="en", metadata={"help": "The language with the labels, which one side of every pair is in."}
    )
    align_languages: list[str] | None = field(
        default=None, metadata={"help": "Languages aligned with align_pivot; all in align_data when unset."}
    )
    align_eval_languages: list[str] | None = field(
        default=None, metadata={"help": "Languages of the held-out pairs; align_languages when unset."}
    )
    align_eval_pairs: int | None = field(
        default=None, metadata={"help": "Pairs of each language kept out of training; a tenth, 100 at most, if unset."}
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
    score_rows: list[int] = field(
        default_factory=lambda: [200], metadata={"help": "Test rows of each locale to score."}
    )
    baseline_recipe: str | None = field(
        default=None,
        metadata={"help": "Recipe to compare the scores with; it is run first unless its scores are there."},
    )

    def __post_init__(self):
        for key in ("task", *EACH):
            value = getattr(self, key)
            if isinstance(value, list) and len(value) == 1:
                setattr(self, key, value[0])

    def each(self):
        """The `DataConfig` of each task alone, in their order: [self] where there is one.

        Raises InputError for keys with another number of values than tasks, and for tasks with one label.
        """
        return each_of(self)


@dataclass
class MidAlignConfig(SFTConfig):
    """SFTConfig plus the alignment half of a micro-batch (arXiv 2502.14830)."""

    task_weights: list[float] | None = field(
        default=None,
        metadata={
            "help": "Of several tasks one each: an optimizer step's loss is the sum of weight times the mean over the "
            "task's tokens; unset, the mean over the tokens of all."
        },
    )
    align_schedule: Literal["joint", "alternate", "sft", "align_only"] = field(
        default="joint",
        metadata={
            "help": "joint: both halves in a micro-batch; alternate: optimizer steps take turns, task first; "
            "sft: no pair half; align_only: no task half."
        },
    )
    align_every: int = field(default=1, metadata={"help": "joint only: a pair half in every n-th micro-batch."})
    align_until: int | None = field(
        default=None,
        metadata={"help": "joint only: the first n optimizer steps have a pair half; all when unset."},
    )
    align_layer: list[float] = field(
        default_factory=lambda: [0.5],
        metadata={
            "help": "Decoder layer whose output is aligned, 1..L-1, or a fraction of the depth L; a list for several, "
            "the loss being the mean over them."
        },
    )
    align_context: Literal["plain", "task"] = field(
        default="plain",
        metadata={"help": "Where a sentence of a pair stands: plain, alone; task, in the (first) task's prompt."},
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
    align_loss: Literal["infonce", "mse", "cka", "multiway"] = field(default="infonce", metadata={"help": "The loss."})
    align_temperature: float = field(
        default=0.1, metadata={"help": "InfoNCE divides cosines by this, multiway singular values."}
    )
    align_symmetric: bool = field(default=False, metadata={"help": "InfoNCE in both directions."})
    align_stop_gradient: bool = field(default=False, metadata={"help": "No gradient through the side of align_pivot."})
    align_center: bool = field(default=False, metadata={"help": "Subtract each side's batch mean before the cosine."})
    align_pooling: Literal["mean", "last", "weighted", "bos"] = field(
        default="mean", metadata={"help": "How token states become one state per sentence."}
    )
    align_pool_skip_first: bool = field(
        default=False, metadata={"help": "Leave each sentence's first token, the attention sink, out of the mean."}
    )
    align_anchor_weight: float = field(
        default=0.0,
        metadata={
            "help": "In every second step, weight of the mean squared difference between the pooled states of "
            "align_pivot's side and those without the adapter."
        },
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
    align_diagnostics_steps: int | None = field(
        default=None,
        metadata={
            "help": "Take diagnostics (diag/*) every n steps; 0 never, unset so rarely that they cost at most 2 %."
        },
    )
    try_on_start: bool = field(
        default=True,
        metadata={
            "help": "Run the largest micro-batch once before the first step, forward and backward, and take it back: "
            "what does not fit into memory ends the run there. Off under ZeRO and FSDP2."
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
        if isinstance(self.align_layer, list) and len(self.align_layer) == 1:
            self.align_layer = self.align_layer[0]
        require_kinds(self, MidAlignConfig)
        if self.eval_steps == 0:  # transformers would take logging_steps without a word
            raise InputError("eval_steps=0; set it to 1 or more, or eval_strategy to no.")
        metric = self.metric_for_best_model
        if metric is not None and self.greater_is_better is None:  # transformers guesses True for `task`
            self.greater_is_better = "retrieval_at_1" in metric
        if self.align_schedule in ("alternate", "align_only") and self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = True  # alignment steps leave the upper layers alone
        # TRL's default has the old names, of which transformers warns; what a recipe sets under them goes on working.
        if self.activation_checkpointing is None:
            self.activation_checkpointing = self.gradient_checkpointing
        if self.activation_checkpointing_kwargs is None:
            self.activation_checkpointing_kwargs = self.gradient_checkpointing_kwargs
        # TRL turns bf16 on everywhere; transformers then refuses to start on a CPU.
        if self.bf16 is None:
            on_cpu = self.use_cpu or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
            self.bf16 = not (self.fp16 or on_cpu) and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.cuda.is_available()
        super().__post_init__()


@dataclass
class ModelConfig(trl.ModelConfig):
    """TRL's, plus which layers get an adapter."""

    lora_layers: str | None = field(
        default=None,
        metadata={
            "help": "Adapters in the first n decoder layers alone: a number, or `align` for those up to align_layer; "
            "in all when unset."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        # TRL makes a word of a list with one name, and PEFT a regular expression of a word that fits no whole path.
        one = self.lora_target_modules
        if isinstance(one, str) and re.fullmatch(r"[\w.]+", one):
            self.lora_target_modules = [one]

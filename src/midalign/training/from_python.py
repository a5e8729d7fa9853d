"""A trainer from Python: own rows and pairs, checked, tokenised and recorded as those of a recipe are."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace

from datasets import Dataset, concatenate_datasets
from peft import LoraConfig, PeftConfig, PeftModel, PromptLearningConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from midalign.compatibility import engine_of, require_compatible
from midalign.config import DataConfig, MidAlignConfig, ModelConfig
from midalign.data.checks import Sieve
from midalign.data.given import TOKENS, is_tokenised, listed, pair_streams, task_stream
from midalign.data.templates import chat_record, fit
from midalign.data.tokens import require_embedded
from midalign.errors import InputError
from midalign.layers import resolve_layer
from midalign.limits import check
from midalign.models.loading import load_config, load_model, load_tokenizer, model_path
from midalign.recipe import REFUSED
from midalign.texts import quoted, shown
from midalign.training.checkpoints import by_step, checkpoint_of, require_same, sealed_day
from midalign.training.checks import check_pairs, longest_row, longest_sentence
from midalign.training.optimizer import check_optimizer
from midalign.training.prepare import attention_and_paths, largest_id
from midalign.training.record import data_record, resolved, step_record

logger = logging.getLogger("midalign")
INIT = ("dtype", "torch_dtype", "attn_implementation", "revision")  # of model_init_kwargs
# Arguments of SFTTrainer that would go round what is done here.
TAKEN = {
    "formatting_func": "rows are chats; make them prompt and completion before",
    "compute_loss_func": "the loss is the method",
    "quantization_config": "load the model with it and give the model",
    "tokenizer": "it is called processing_class",
}


@dataclass(frozen=True)
class Given:
    """What a trainer is made of, ready to train."""

    model: PreTrainedModel | PeftModel
    args: MidAlignConfig
    tokenizer: PreTrainedTokenizerBase
    task: Dataset  # input_ids, labels, place
    held_out_task: Dataset | dict | None
    pairs: Dataset  # of `data.pair_rows`
    held_out_pairs: Dataset
    left_out: list  # a sentence for each row or pair that cannot be used
    made_from: dict  # for checkpoints; JSON


def begin(
    model, args, tokenizer, train_dataset, eval_dataset, pairs, eval_pairs, peft_config, align_pivot, on_bad_row, others
):
    """`Given` of what somebody gives a `MidAlignTrainer`; see there.   others: its further arguments by name.

    Everything is looked at before the weights of a model that is named are read. Raises InputError.
    """
    for name in sorted(TAKEN.keys() & {key for key, value in others.items() if value is not None}):
        raise InputError(f"{name} cannot be given: {TAKEN[name]}.")
    if on_bad_row not in ("error", "skip"):
        raise InputError(f"on_bad_row={quoted(on_bad_row)}; set it to error or skip.")
    args = _arguments(args, model)
    if args.align_context == "task":
        raise InputError(
            "align_context task needs the prompt of a task, which rows from Python do not tell apart from the text in "
            "it; train a recipe, with a task of your own where it is none of ours, or set align_context to plain."
        )
    pairs = listed("pairs", () if pairs is None else pairs)
    if type(eval_pairs) is not int:
        eval_pairs = listed("eval_pairs", () if eval_pairs is None else eval_pairs)
    if args.align_schedule != "sft" and not len(pairs):
        raise InputError(
            f"align_schedule {args.align_schedule} needs pairs; give the trainer pairs, or set align_schedule to sft."
        )
    named, config = _named(model, args, peft_config)
    data = DataConfig(task_data="train_dataset", align_data=["pairs"] if len(pairs) else None, align_pivot=align_pivot)
    _check(data, args, named)
    layer = resolve_layer(args.align_layer, config.get_text_config().num_hidden_layers)
    tokenizer = _tokenizer(tokenizer, model, named, _day(args.output_dir))
    sieve = Sieve(on_bad_row)
    with args.main_process_first(desc="tokenisation"):
        if train_dataset is None and args.align_schedule == "align_only":  # SFTTrainer wants a row, which nobody reads
            train_dataset = Dataset.from_dict({key: [[tokenizer.pad_token_id]] for key in TOKENS})
        task = task_stream("train_dataset", train_dataset, tokenizer, args, sieve)
        held_out_task = _held_out_task(eval_dataset, tokenizer, args, sieve)
        streams = pair_streams(pairs, eval_pairs, align_pivot, tokenizer, args, sieve)
        sieve.settle()
    check_pairs(args, *streams)
    held_out = _whole(held_out_task)
    name = named.model_name_or_path or type(model).__name__
    largest = largest_id(tokenizer, (task, held_out), streams)
    require_embedded([[largest]], config.get_text_config().vocab_size, name)
    of_files = {field.name for field in fields(DataConfig)} - {"align_pivot"}
    recipe = {key: value for key, value in resolved(data, args, named).items() if key not in of_files}
    made_from = {
        "recipe": recipe | {"align_layer": layer, "peft_config": _plain(peft_config)},
        "data": data_record(task, streams[0], held_out, streams[1]),
        "step": step_record(args, args.world_size),
        "engine": engine_of(args),
        "processes": args.world_size,
    }
    if tokenizer.chat_template is not None:
        made_from["chat"] = chat_record(tokenizer)
    if isinstance(model, str):
        lengths = {"row": longest_row(task, held_out), "sentence": longest_sentence(*streams)}
        attention, _ = attention_and_paths(args, named, config, lengths)
        logger.info("attn_implementation is %s: %s.", *attention)
        model = load_model(named.model_name_or_path, named, attention[0])
    return Given(model, args, tokenizer, task, held_out_task, *streams, sieve.left_out, made_from)


def _arguments(args, model):
    if args is None:
        name = model if isinstance(model, str) else getattr(model, "name_or_path", "") or type(model).__name__
        return MidAlignConfig(f"{name.rstrip('/').split('/')[-1]}-MidAlign")
    if not isinstance(args, MidAlignConfig):
        raise InputError(
            f"args is of type {type(args).__name__}; make it a MidAlignConfig, which takes all that SFTConfig takes."
        )
    return args


def _named(model, args, peft_config):
    """(ModelConfig, the model's own configuration) of a model or of the name of one. Raises InputError."""
    adapter = {}
    if not isinstance(peft_config, (PeftConfig, type(None))):
        raise InputError(
            f"peft_config is of type {type(peft_config).__name__}; give a configuration such as LoraConfig."
        )
    if isinstance(peft_config, PromptLearningConfig):
        raise InputError(
            f"peft_config is of type {type(peft_config).__name__}, whose tokens before each text the early exit does "
            "not know; use LoraConfig."
        )
    if isinstance(peft_config, LoraConfig):
        modules = {
            "lora_target_modules": peft_config.target_modules,
            "lora_modules_to_save": peft_config.modules_to_save,
        }
        lists = {key: sorted(own) for key, own in modules.items() if own and not isinstance(own, str)}
        adapter = {**lists, "use_dora": peft_config.use_dora, "use_rslora": peft_config.use_rslora}
    adapter["use_peft"] = peft_config is not None or isinstance(model, PeftModel)
    init = args.model_init_kwargs or {}
    if isinstance(model, str):
        for key in init:
            if key not in INIT:
                raise InputError(
                    f"model_init_kwargs has {shown(key)}, and only {', '.join(INIT)} are read; load the model and give "
                    "it in place of its name."
                )
        path = model_path(model, Path(args.output_dir).parent)
        dtype = str(init.get("dtype", init.get("torch_dtype")) or "float32").removeprefix("torch.")
        named = ModelConfig(
            path,
            model_revision=init.get("revision", "main"),
            dtype=dtype,
            attn_implementation=init.get("attn_implementation"),
            **adapter,
        )
        return named, load_config(path, named.model_revision)
    if not isinstance(model, (PreTrainedModel, PeftModel)):
        raise InputError(
            f"model is of type {type(model).__name__}; give a name, a folder or a model of transformers or peft."
        )
    if model.get_output_embeddings() is None:
        raise InputError(f"model is of type {type(model).__name__}, without an LM head; load it as a causal LM.")
    if init:
        raise InputError("model_init_kwargs is for a model that is given by name, found a loaded one; delete it.")
    adapter |= {f"load_in_{bits}bit": getattr(model, f"is_loaded_in_{bits}bit", False) for bits in (4, 8)}
    dtype = str(model.dtype).removeprefix("torch.")
    return ModelConfig(model.config.name_or_path or None, dtype=dtype, **adapter), model.config


def _check(data, args, model):
    """Refuse what a recipe would be refused for. Raises InputError."""
    plain = type(args)(output_dir=args.output_dir, use_cpu=args.use_cpu)
    own = {field.name for field in fields(args) if field.init}
    set_ = {key for key in own if getattr(args, key) != getattr(plain, key)}
    for key in sorted(set_ & REFUSED.keys() - {"model_init_kwargs"}):
        raise InputError(f"{key} cannot be set: {REFUSED[key]}; delete it.")
    # The old names follow the new ones, whichever was given.
    set_ -= {key for key in set_ if key.startswith("gradient_checkpointing")}
    model = SimpleNamespace(**{**vars(model), "model_name_or_path": model.model_name_or_path or "model"})
    check(data, args, model, {*set_, "output_dir"})
    require_compatible(args, model, engine_of(args))
    check_optimizer(args)


def _tokenizer(tokenizer, model, named, day):
    """The tokenizer, its chat template fitted. Raises InputError."""
    if tokenizer is None:
        if named.model_name_or_path is None:
            raise InputError("processing_class is missing, and the model does not say where it is from; give both.")
        return load_tokenizer(named.model_name_or_path, named.model_revision, day=day)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise InputError(f"processing_class is of type {type(tokenizer).__name__}; give the model's tokenizer.")
    tokenizer.name_or_path = tokenizer.name_or_path or "processing_class"  # for what is said of it
    fit(tokenizer, day=day)
    return tokenizer


def _day(output_dir):
    """The date in prompts that have one: that of the run which can be gone on from."""
    return next(map(sealed_day, by_step(output_dir)), None)


def _held_out_task(rows, tokenizer, args, sieve):
    if rows is None:
        if args.eval_strategy != "no":
            raise InputError(
                f"eval_strategy {args.eval_strategy.value} needs rows; give the trainer an eval_dataset, or delete it."
            )
        return None
    if isinstance(rows, Mapping):  # several, each with metrics of its own name
        return {name: task_stream(f"eval_dataset {name}", own, tokenizer, args, sieve) for name, own in rows.items()}
    return task_stream("eval_dataset", rows, tokenizer, args, sieve)


def _whole(rows):
    return concatenate_datasets(list(rows.values())) if isinstance(rows, Mapping) else rows


def _plain(peft_config):
    """An adapter's configuration as JSON, the same in every process."""
    if peft_config is None:
        return None
    return json.loads(json.dumps(peft_config.to_dict(), default=lambda v: sorted(v) if isinstance(v, set) else str(v)))


class FromPython:
    """Mixin over `Resumable`: what a trainer does itself where no recipe has been read."""

    from_recipe = True

    def train(self, resume_from_checkpoint=None, **kwargs):
        if not self.from_recipe:
            wanted = self.args.resume_from_checkpoint if resume_from_checkpoint is None else resume_from_checkpoint
            resume_from_checkpoint = checkpoint_of(wanted, self.args.output_dir)
            steps = by_step(self.args.output_dir)
            if resume_from_checkpoint:
                require_same(resume_from_checkpoint, self.made_from)
            elif steps:
                raise InputError(
                    f"output_dir {self.args.output_dir} holds checkpoints up to {steps[0].name}; go on from there with "
                    "train(resume_from_checkpoint=True), or name another output_dir."
                )
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _prepare_dataset(self, dataset, processing_class, args, packing, formatting_func, dataset_name):
        """Nothing where rows are tokenised; `evaluate` also takes others."""
        if is_tokenised(dataset):
            return dataset
        sieve = Sieve()
        table = task_stream(dataset_name, dataset, self.processing_class, self.args, sieve)
        sieve.settle()
        return table

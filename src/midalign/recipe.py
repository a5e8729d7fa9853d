"""Recipe -> dataclasses: a flat YAML file, overridden by `--key value` on the command line."""

import difflib
import json
import re
from dataclasses import fields
from pathlib import Path

import yaml
from transformers import HfArgumentParser
from trl import ModelConfig

from midalign.compatibility import engine_of, require_compatible
from midalign.config import DataConfig, MidAlignConfig
from midalign.errors import InputError
from midalign.limits import check

# Keys of SFTConfig that our data path would ignore or that would change the experiment behind its back.
REFUSED = {
    "packing": "rows are never packed across examples",
    "eval_packing": "rows are never packed across examples",
    "padding_free": "rows are padded or share their prefix",
    "assistant_only_loss": "the loss is on the answer tokens already",
    "completion_only_loss": "the loss is on the answer tokens already",
    "dataset_text_field": "rows come from `task` and `task_data`",
    "dataset_kwargs": "rows come from `task` and `task_data`",
    "shuffle_dataset": "rows are shuffled anew in every epoch from the seed",
    "truncation_mode": "a row longer than max_length is an error, never cut",
    "train_sampling_strategy": "rows are shuffled anew in every epoch from the seed",
    "dataloader_drop_last": "the last rows of an epoch are used",
    "eos_token": "the tokenizer's own end of turn is used",
    "chat_template_path": "the tokenizer's own chat template is used; save one into the model folder",
    "trust_remote_code": "no code from a model repository is run",
    "model_init_kwargs": "use dtype, attn_implementation and model_revision",
    "use_liger_kernel": "the early exit needs the stock forward pass",
    "label_smoothing_factor": "the task loss is plain cross entropy",
    "save_only_model": "a run cannot go on from a checkpoint without its optimizer",
    "ignore_data_skip": "a resumed run must read the rows that follow",
    "auto_find_batch_size": "a changed batch size is a different experiment",
    "neftune_noise_alpha": "its noise is scaled by the length of a padded row, and packed rows and pairs are none",
    "include_num_input_tokens_seen": "it misses pairs and all passes of a task half but the last; num_tokens is logged",
    "debug": "it looks into the output of every module, and the early exit leaves the LM head's empty",
    "dataloader_in_order": "a resumed run must read the rows that follow",
    "accelerator_config": "the schedule says which rows and pairs a process gets",
    "parallelism_config": "processes share out rows, never the tokens of a row",
    "ddp_static_graph": "not all steps take the same way through the model",
    "fsdp": "the engine is that of `accelerate launch --config_file accelerate_configs/fsdp2.yaml`",
    "fsdp_config": "the engine is that of `accelerate launch --config_file accelerate_configs/fsdp2.yaml`",
}


def read_recipe(argv):
    """Parse `[recipe.yaml] [--key value ...]`; the command line wins over the file.

    Returns (DataConfig, MidAlignConfig, ModelConfig), checked as far as no model is needed.
    Raises InputError for an unreadable file, an unknown or refused key, or a value of the wrong type.
    """
    argv = list(argv)
    recipe = Path(argv.pop(0)) if argv and not argv[0].startswith("--") else None
    parser = _Parser((DataConfig, MidAlignConfig, ModelConfig), allow_abbrev=False)
    types = {f.name: f.type for c in (DataConfig, MidAlignConfig, ModelConfig) for f in fields(c) if f.init}
    values = _read_yaml(recipe) if recipe else {}
    overrides = {arg[2:].split("=")[0].replace("-", "_"): None for arg in argv if arg.startswith("--")}
    for key in [*values, *overrides]:
        _check_key(key, types)
    tokens = [token for key, value in values.items() for token in _tokens(key, value, types[key])]
    try:
        data, training, model, rest = parser.parse_args_into_dataclasses(
            tokens + argv, return_remaining_strings=True, look_for_args_file=False
        )
    except InputError:
        raise
    except (ValueError, TypeError, ImportError) as error:  # TrainingArguments and ModelConfig check themselves
        raise InputError(" ".join(str(error).split())) from error
    if rest:
        raise InputError(f"found {rest[0]!r} without a key; give every value as --key value.")
    check(data, training, model, given={*values, *overrides})
    require_compatible(training, model, engine_of(training))
    return data, training, model


class _Parser(HfArgumentParser):
    def error(self, message):
        found = re.match(r"argument --(\w+)\S*: invalid (?:(\w+) value: (.*)|choice: (\S+) \((.*)\))$", message)
        truth = re.match(r"argument --(\w+)\S*: Truthy value expected: got (.*) but", message)
        if truth:
            raise InputError(f"{truth[1]}: found {truth[2]!r}; give it true or false.")
        if not found:
            raise InputError(message.removeprefix("argument --") + "; mend it in the recipe or on the command line.")
        key, kind, value, choice, choices = found.groups()
        if choice:
            raise InputError(f"{key}: found {choice}; {choices}.")
        kind = {"int": "a whole number", "float": "a number", "string_to_bool": "true or false"}.get(kind, kind)
        raise InputError(f"{key}: found {value}; give it {kind}.")


class _UniqueKeyLoader(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} appears twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read_yaml(path):
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise InputError(f"recipe {path}: {error.strerror}; give the path of a YAML file.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"recipe {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise InputError(f"recipe {path} holds no `key: value` lines; see recipes/README.md.")
    return {str(key): value for key, value in values.items()}


def _check_key(key, types):
    if key not in types:
        near = difflib.get_close_matches(key, types, n=1)
        hint = f"did you mean {near[0]}?" if near else "see recipes/README.md for the keys."
        raise InputError(f"unknown key {key}; {hint}")
    if key in REFUSED:
        raise InputError(f"{key} cannot be set: {REFUSED[key]}; delete it.")


def _tokens(key, value, kind):
    """A YAML value as command-line tokens, so that one parser checks the types of both."""
    if value is None:
        raise InputError(f"{key} has no value; give it one or delete the line.")
    if isinstance(value, bool) and "bool" not in str(kind) and key != "resume_from_checkpoint":
        word = "yes" if value else "no"
        raise InputError(f'{key}: found {value}, which YAML makes of bare words like {word}; write "{word}".')
    if isinstance(value, list):
        return [f"--{key}", *map(str, value)]
    return [f"--{key}={json.dumps(value) if isinstance(value, dict) else value}"]

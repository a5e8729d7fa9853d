"""Recipe -> dataclasses: a flat YAML file, overridden by `--key value` on the command line."""

import difflib
import json
import re
from dataclasses import fields
from typing import get_args, get_origin, get_type_hints

from transformers import HfArgumentParser

from midalign.compatibility import engine_of, require_compatible
from midalign.config import DataConfig, MidAlignConfig, ModelConfig
from midalign.errors import InputError
from midalign.limits import check
from midalign.recipe_file import Bare, read_yaml
from midalign.shipped import recipe_path
from midalign.texts import NO_TEXT, quoted, shown, squeeze

HOLDERS = (DataConfig, MidAlignConfig, ModelConfig)
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


# 010 is 8 in YAML 1.1 and 10 elsewhere, 1:30 is 90; digits of other scripts are numbers to Python.
AMBIGUOUS = re.compile(r"[-+]?0[0-9_]+|[-+]?[0-9_]+(:[0-9.]+)+|.*[^\x00-\x7f].*", re.DOTALL)
NUMERIC = re.compile(r"\b(int|float)\b")
LONGEST = 200  # letters of a value that an error repeats


def read_recipe(argv):
    """Parse `[recipe.yaml] [--key value ...]`; the command line wins over the file.

    Returns (DataConfig, MidAlignConfig, ModelConfig), checked as far as no model is needed.
    Raises InputError for an unreadable file, an unknown or refused key, or a value of the wrong type.
    """
    argv = list(argv)
    recipe = recipe_path(argv.pop(0)) if argv and not argv[0].startswith("--") else None
    parser = _Parser(HOLDERS, allow_abbrev=False)
    types = {key: kind for holder in HOLDERS for key, kind in get_type_hints(holder).items() if key in _keys(holder)}
    values, overrides = read_yaml(recipe) if recipe else {}, overrides_of(argv)
    for key in [*values, *overrides]:
        _check_key(key, types)
    _settle_length(values, overrides)
    tokens = [token for key, value in values.items() for token in _tokens(key, value, types[key])]
    for key, text in ((key, text) for key, texts in overrides.items() for text in texts):
        _check_text(key, text, types[key])
    try:
        data, training, model, rest = parser.parse_args_into_dataclasses(
            tokens + argv, return_remaining_strings=True, look_for_args_file=False
        )
    except InputError:
        raise
    except Exception as error:  # TrainingArguments and ModelConfig check themselves, and fail in a dozen ways
        raise InputError(squeeze(str(error)) or f"the recipe cannot be used ({type(error).__name__}).") from error
    if rest:
        raise InputError(f"found {quoted(rest[0])} without a key; give every value as --key value.")
    check(data, training, model, given={*values, *overrides})
    require_compatible(training, model, engine_of(training))
    return data, training, model


def _settle_length(values, overrides):
    """Of num_train_epochs and max_steps one counts, in transformers always max_steps: the one on the command line."""
    both = {"num_train_epochs", "max_steps"}
    for given in (overrides, values):
        if both <= given.keys():
            raise InputError("num_train_epochs and max_steps are both set, and only one counts; delete one of them.")
    if "num_train_epochs" in overrides:
        values.pop("max_steps", None)


class _Parser(HfArgumentParser):
    def error(self, message):
        found = re.match(r"argument --(\w+)\S*: invalid (?:(\w+) value: (.*)|choice: (\S+) \((.*)\))$", message)
        truth = re.match(r"argument --(\w+)\S*: Truthy value expected: got (.*) but", message, re.DOTALL)
        if truth:
            raise InputError(f"{truth[1]}: found {quoted(truth[2])}; give it true or false.")
        if not found:
            message = squeeze(message.removeprefix("argument --"))
            raise InputError(f"{message[:LONGEST]}; mend it in the recipe or on the command line.")
        key, kind, value, choice, choices = found.groups()
        if choice:
            raise InputError(f"{key}: found {choice[:LONGEST]}; {choices}.")
        kind = {"int": "a whole number", "float": "a number", "string_to_bool": "true or false"}.get(kind, kind)
        raise InputError(f"{key}: found {value[:LONGEST]}; give it {kind}.")


def _keys(holder):
    return {field.name for field in fields(holder) if field.init}


def overrides_of(argv):
    """{key: its texts} of a command line; of a key that comes twice the last."""
    found, texts = {}, []
    for token in argv:
        if token.startswith("--"):
            name, _, text = token[2:].partition("=")
            found[name.replace("-", "_")] = texts = [text] if text else []
        else:
            texts.append(token)
    return found


def _check_key(key, types):
    if key not in types:
        near = difflib.get_close_matches(key, types, n=1) if len(key) <= LONGEST else []
        hint = f"did you mean {near[0]}?" if near else "see recipes/keys.md for the keys."
        raise InputError(f"unknown key {shown(key)}; {hint}")
    if key in REFUSED:
        raise InputError(f"{key} cannot be set: {REFUSED[key]}; delete it.")


def _tokens(key, value, kind):
    """A value of `read_yaml` as command-line tokens, so that one parser checks the types of both."""
    if isinstance(value, list):
        return _list_tokens(key, value, kind)
    if isinstance(value, dict):
        if "dict" not in str(kind):
            raise InputError(f"{key}: found a block; give it one value.")
        return [f"--{key}={json.dumps(value)}"]
    _check_value(key, value, kind)
    return [f"--{key}={value}"]


def _list_tokens(key, items, kind):
    several = get_origin(kind) is list or ("list" in str(kind) and str not in get_args(kind))  # with text, it takes one
    if not several and ("list" not in str(kind) or len(items) > 1):
        raise InputError(f"{key}: found a list; give it one value.")
    if not items:
        raise InputError(f"{key}: found an empty list; name something or delete the line.")
    for item in items:
        if isinstance(item, Bare) and not NUMERIC.search(str(kind)):
            raise InputError(
                f'{key}: found {shown(item)}, which YAML makes a number or a date of; write "{item[:60]}".'
            )
        _check_value(key, item, kind)
        if str(item).startswith("-"):  # argparse would take it for the next key
            raise InputError(f"{key}: found {quoted(item)} in the list; no item may start with a hyphen.")
    return [f"--{key}", *items]


def _check_value(key, value, kind):
    if value is None:
        raise InputError(f"{key} has no value; give it one or delete the line.")
    if isinstance(value, str):
        _check_text(key, value, kind)
    elif "bool" not in str(kind) and key != "resume_from_checkpoint":
        word = "yes" if value else "no"
        raise InputError(f'{key}: found {value}, which YAML makes of bare words like {word}; write "{word}".')


def _check_text(key, text, kind):
    """Refuse what is no text, and what YAML and Python read as different numbers."""
    if NO_TEXT.search(text):
        raise InputError(f"{key}: found {quoted(text)}, in which a character is no text; delete it.")
    if NUMERIC.search(str(kind)) and AMBIGUOUS.fullmatch(text):
        raise InputError(f"{key}: found {quoted(text)}; write the number in plain digits, without leading zeros.")

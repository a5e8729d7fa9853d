"""What can be evaluated: a recipe that has been trained, an adapter folder, a fully trained model, a base model."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import PartialState
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from trl import ModelConfig

from midalign.config import DataConfig
from midalign.data.checks import Sieve
from midalign.data.pairs import read_pairs, spoken
from midalign.errors import InputError
from midalign.languages import language_of
from midalign.models.adapters import CONFIG, WEIGHTS, base_of
from midalign.models.learned import all_recorded
from midalign.models.loading import is_out_of_memory, load_model, load_tokenizer, model_commit, plain_tokenizer
from midalign.models.nearby import require_model_name
from midalign.models.weights import require_finite
from midalign.recipe import read_recipe
from midalign.shipped import is_recipe
from midalign.texts import shown, squeeze

# Everything in a folder that answers depend on: weights, configuration, tokenizer, chat template.
OF_TOKENIZER = ("*token*.json", "*.model", "vocab*", "merges.txt", "*.jinja")
DEPENDS_ON = ("*.safetensors", "*config.json", *OF_TOKENIZER)
ADDITIVE = ("LORA", "ADALORA", "LOHA", "LOKR", "VERA", "IA3")  # change weights, neither tokens nor the cache


@dataclass(frozen=True)
class Run:
    """A model with or without an adapter, and the recipe's data where it came from a recipe."""

    name: str
    path: str  # folder or hub name of the model under the adapter
    adapter: Path | None
    tokenizer: str  # folder or hub name
    model: ModelConfig  # how to load it
    data: DataConfig | None = None

    def base(self):
        """The same model without the adapter, asked the same prompts."""
        return replace(self, name=_name(self.path), adapter=None, data=None)


def find_run(argument, dtype=None, base=None):
    """The run that a recipe, an adapter folder, or a model's folder or hub name stands for.

    dtype: overrides the recipe's; else the checkpoint's own.   base: the model below an adapter folder, where it is
    elsewhere than the folder says. Raises InputError, also for a recipe not yet trained.
    """
    path = Path(argument)
    if is_recipe(str(argument)):
        return _of_recipe(argument, dtype)
    require_model_name(str(argument))
    model = ModelConfig(model_name_or_path=str(argument), dtype=dtype or "auto")
    if (path / CONFIG).is_file():
        return _of_adapter(path, model, base)
    return _of_model(str(argument), model)


def _of_recipe(recipe, dtype):
    data, training, model = read_recipe([recipe, *(["--dtype", dtype] if dtype else [])])
    folder = Path(training.output_dir)
    if (folder / CONFIG).is_file():
        run = replace(_of_adapter(folder, model), data=data)
    elif (folder / "config.json").is_file():
        run = replace(_of_model(str(folder), model), data=data)
    else:
        raise InputError(f"{recipe} has written no model to {folder} yet; first run `midalign train {recipe}`.")
    _require_trained_as(recipe, run)
    return run


def _require_trained_as(recipe, run):
    """Refuse a recipe whose run learned something else, as one with --task does. Raises InputError."""
    learned = sorted(Path(own.name).name for own in all_recorded(run))
    told = sorted(Path(own.task).name for own in run.data.each())
    if learned and learned != told:
        raise InputError(
            f"{recipe} says task {', '.join(told)}, but the run in {run.adapter or run.path} has learned "
            f"{', '.join(learned)}; name the folder, and with --task and --data what to ask."
        )


def _of_model(path, model):
    return Run(_name(path), path, None, path, model)


def _of_adapter(folder, model, base=None):
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder} has no {WEIGHTS}; only safetensors are loaded: save the adapter as such.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        named, kind = str(config["base_model_name_or_path"] or ""), config["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / CONFIG} is not what PEFT writes; save the adapter anew.") from error
    if not (base or named):
        raise InputError(f"{folder / CONFIG} has no base_model_name_or_path; write the base model there.")
    if kind not in ADDITIVE or config.get("alora_invocation_tokens"):
        raise InputError(f"{folder} is a {kind} adapter; our generation is exact for {', '.join(ADDITIVE)} only.")
    revision = config.get("revision") if not base else None
    base = base or base_of(named, folder)
    model = replace(model, model_name_or_path=base, model_revision=revision or model.model_revision)
    with_tokenizer = (folder / "tokenizer_config.json").is_file()
    return Run(_name(folder), base, folder, str(folder) if with_tokenizer else base, model)


def _name(path):
    """The last part of a folder's or hub model's name, also of `.`."""
    return Path(path).resolve().name


def with_bases(runs):
    """The models below the adapters, each once, in the precision of the first run that has it, then the runs."""

    def identity(run):
        place = (str(Path(run.path).resolve()),) if Path(run.path).is_dir() else (run.path, run.model.model_revision)
        return *place, run.model.load_in_4bit, run.model.load_in_8bit

    named, bases = {identity(run) for run in runs if not run.adapter}, {}
    for run in runs:
        if run.adapter and identity(run) not in named:
            bases.setdefault(identity(run), run.base())
    names = Counter(base.name for base in bases.values())
    each = [base if names[base.name] == 1 else replace(base, name=_pinned_name(base)) for base in bases.values()]
    return [*each, *runs]


def _pinned_name(run):
    return f"{run.name}@{run.model.model_revision}".replace("/", "-")


def aligned_languages(data):
    """The languages that a recipe aligns, as `languages.language_of` names them."""
    if not data.align_data:
        return set()
    if data.align_languages:
        return set(map(language_of, data.align_languages))
    return set(spoken(read_pairs(data.align_data, Sieve("skip"), data.align_pivot, data.align_revision)))


def load_run_tokenizer(run, day=None):
    """The fitted tokenizer of a run.   day: as in `data.templates.fit`; a trained run has its own.

    Raises InputError.
    """
    return load_tokenizer(run.tokenizer, _tokenizer_revision(run), day=day)


def plain_run_tokenizer(run):
    """The tokenizer of a run for plain text alone: with any chat template, also one that chats cannot be written in."""
    return plain_tokenizer(run.tokenizer, _tokenizer_revision(run))


def _tokenizer_revision(run):
    return run.model.model_revision if run.tokenizer == run.path else None


def load_run(run, day=None):
    """(model, tokenizer) of a run, on this process's device.   day: see `load_run_tokenizer`. Raises InputError."""
    tokenizer = load_run_tokenizer(run, day)
    return load_run_model(run), tokenizer


def load_run_model(run):
    """The model of a run, on this process's device, in evaluation mode. Raises InputError."""
    model = load_model(run.path, run.model)
    if run.adapter:
        try:
            model = PeftModel.from_pretrained(model, run.adapter, use_safetensors=True)
        except Exception as error:  # what stands in a file of others decides which
            if is_out_of_memory(error):
                raise
            raise InputError(f"{run.adapter} does not fit {run.path}: {squeeze(str(error))[:600]}") from error
        weights = get_peft_model_state_dict(model, save_embedding_layers=False)
        _require_complete(run, weights.keys(), model.state_dict().keys())
        require_finite(weights.items(), run.adapter)
    if not (run.model.load_in_4bit or run.model.load_in_8bit):  # those are where bitsandbytes put them
        model = model.to(PartialState().device)
    return model.eval()


def _require_complete(run, expected, known):
    """Refuse an adapter that PEFT has loaded in part: what is missing is zero, so that the base would answer.

    expected: names in a file of the adapter.   known: of all weights of the model, some of which a file may hold too.
    """
    with safe_open(run.adapter / WEIGHTS, framework="pt") as file:
        found = set(file.keys())
    for what, names in (("lacks", expected - found), ("has, with no place in the model,", found - expected - known)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(
                f"{run.adapter} does not fit {run.path}: it {what} the weight {shown(min(names), 120)}{more}; train or "
                "save it anew on this model."
            )


def fingerprint(run):
    """What the answers of a run depend on, for the record: names, precision, and hashes of all files.

    A model of the hub is known by its commit, a folder by the sha256 of weights, configuration and tokenizer.
    """
    return {
        "model": run.path,
        "files": hash_of(run.path, run.model.model_revision),
        "adapter": hash_of(run.adapter, None) if run.adapter else None,
        "tokenizer": hash_of(run.tokenizer, run.model.model_revision, OF_TOKENIZER),
        "dtype": str(run.model.dtype),
        "bits": 4 if run.model.load_in_4bit else 8 if run.model.load_in_8bit else None,
    }


def hash_of(path, revision, files=DEPENDS_ON):
    """The sha256 of a folder's files, by default weights, configuration and tokenizer; the commit of a hub model."""
    folder = Path(path)
    if not folder.is_dir():
        return model_commit(path, revision)
    digest = hashlib.sha256()
    for file in sorted({file for pattern in files for file in folder.glob(pattern)}):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()

"""What can be evaluated: a recipe that has been trained, an adapter folder, a fully trained model, a base model."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from peft import PeftModel
from trl import ModelConfig

from midalign.config import DataConfig
from midalign.data.reading import read_pairs
from midalign.errors import InputError
from midalign.recipe import read_recipe
from midalign.training.models import load_model, load_tokenizer, model_commit

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class Run:
    """A model with or without an adapter, and the recipe's data where it came from a recipe."""

    name: str
    path: str  # folder or hub name of the model under the adapter
    adapter: Path | None
    model: ModelConfig  # how to load it
    data: DataConfig | None = None

    def base(self):
        """The same model without the adapter."""
        return Run(Path(self.path).name, self.path, None, self.model)


def find_run(argument, dtype=None):
    """The run that a recipe, an adapter folder, or a model's folder or hub name stands for.

    dtype: overrides the recipe's; else the checkpoint's own. Raises InputError, also for a recipe not yet trained.
    """
    path = Path(argument)
    if path.suffix in (".yaml", ".yml"):
        return _of_recipe(argument, dtype)
    if (path / ADAPTER_CONFIG).is_file():
        return _of_adapter(path, ModelConfig(dtype=dtype or "auto"))
    return Run(path.name, str(argument), None, ModelConfig(model_name_or_path=str(argument), dtype=dtype or "auto"))


def _of_recipe(recipe, dtype):
    data, training, model = read_recipe([recipe, *(["--dtype", dtype] if dtype else [])])
    folder = Path(training.output_dir)
    if (folder / ADAPTER_CONFIG).is_file():
        return _of_adapter(folder, model, data)
    if (folder / "config.json").is_file():
        return Run(folder.name, str(folder), None, model, data)
    raise InputError(
        f"{recipe} has written no model to {folder} yet; first run `accelerate launch src/run_midalign.py {recipe}`."
    )


def _of_adapter(folder, model, data=None):
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise InputError(f"{folder} has no {ADAPTER_WEIGHTS}; only safetensors are loaded: save the adapter as such.")
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        base = config["base_model_name_or_path"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder / ADAPTER_CONFIG} names no base_model_name_or_path; save the adapter anew."
        ) from error
    model.model_name_or_path = base
    model.model_revision = config.get("revision") or model.model_revision
    return Run(folder.name, base, folder, model, data)


def aligned_languages(data):
    """Two-letter codes of the languages that a recipe aligns."""
    if not data.align_data:
        return set()
    return set(data.align_languages or {pair["source_lang"] for pair in read_pairs(data.align_data)})


def load_run(run):
    """(model, tokenizer) of a run, on this process's device. Raises InputError."""
    with_tokenizer = run.adapter and (run.adapter / "tokenizer_config.json").is_file()
    tokenizer = (
        load_tokenizer(run.adapter, None) if with_tokenizer else load_tokenizer(run.path, run.model.model_revision)
    )
    model = load_model(run.path, run.model)
    if run.adapter:
        try:
            model = PeftModel.from_pretrained(model, run.adapter, use_safetensors=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{run.adapter} does not fit {run.path}: {' '.join(str(error).split())}") from error
    if not (run.model.load_in_4bit or run.model.load_in_8bit):  # those are where bitsandbytes put them
        model = model.to(PartialState().device)
    return model.eval(), tokenizer


def fingerprint(run):
    """What the answers of a run depend on, for the record: names, precision, and hashes of all weights.

    A model of the hub is known by its commit, a folder by the sha256 of its safetensors.
    """
    path = Path(run.path)
    if path.is_dir():
        weights = _sha256(sorted(path.glob("*.safetensors")))
    else:
        weights = model_commit(run.path, run.model.model_revision)
    return {
        "model": run.path,
        "weights": weights,
        "adapter": _sha256([run.adapter / ADAPTER_CONFIG, run.adapter / ADAPTER_WEIGHTS]) if run.adapter else None,
        "dtype": str(run.model.dtype),
        "bits": 4 if run.model.load_in_4bit else 8 if run.model.load_in_8bit else None,
    }


def _sha256(files):
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()

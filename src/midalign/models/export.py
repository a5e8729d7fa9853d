"""A trained run as one plain model folder, checked against the run before it is put in its place.

The adapter goes into the unquantised base in float32, then the weights are cast. Three comparisons on sample sentences:
the merged weights with base and adapter (exact), the folder loaded anew with what was saved (exact), and both ends,
where the gap is what the cast costs. At every time one copy of the weights is in memory.
"""

import json
from dataclasses import replace
from importlib.metadata import version

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from trl import ModelConfig

from midalign.errors import InputError, MidalignError
from midalign.evaluation.generation import generate, stop_ids
from midalign.models.adapters import server_notes
from midalign.models.agreement import TOLERANCE, largest_gap, logits, sample_sentences
from midalign.models.learned import EXPORTED, trained_as
from midalign.models.loading import load_config, load_model, load_tokenizer
from midalign.models.merged import free_place, placed
from midalign.models.runs import load_run

SENTENCES = 12


def export(run, output, chats, dtype=None, batch_size=32, max_new_tokens=128):
    """Write the model of a `runs.Run` to `output` as transformers and vLLM read it, with export.json.

    chats: prompts that both answer, the run in float32 and the folder as written.
    dtype: of the written weights; the base's own when None.
    Returns the record, JSON, with the share of equal answers and the largest gap of two logits.
    Raises MidalignError where the folder is not the run's model; then nothing is written.
    """
    output = free_place(output)
    config = load_config(run.path, run.model.model_revision)
    if hasattr(config, "quantization_config"):
        raise InputError(
            f"{run.path} is stored quantised, and an adapter is merged into whole weights; write the name of the "
            "unquantised model into base_model_name_or_path of adapter_config.json."
        )
    dtype = dtype or str(config.dtype or "float32").removeprefix("torch.")
    sentences = sample_sentences(SENTENCES)
    plain = replace(run, model=replace(run.model, load_in_4bit=False, load_in_8bit=False, dtype="float32"))
    model, tokenizer = load_run(plain)
    of_run = logits(model, tokenizer, sentences)
    answers = generate(model, tokenizer, chats, batch_size, max_new_tokens)
    model = _merged(model) if run.adapter else model
    _require_equal(of_run, logits(model, tokenizer, sentences), "the adapter inside the weights and beside them")
    for parameter in model.parameters():  # not `model.to`: transformers keeps rotary frequencies in float32
        parameter.data = parameter.data.to(getattr(torch, dtype))
    of_cast = logits(model, tokenizer, sentences)
    with placed(output) as staging:
        _write(model, tokenizer, staging)
        del model
        written = load_model(str(staging), ModelConfig(model_name_or_path=str(staging), dtype=dtype))
        tokenizer = load_tokenizer(str(staging), None)
        of_written = logits(written, tokenizer, sentences)
        _require_equal(of_cast, of_written, "the written folder and what was saved")
        again = generate(written, tokenizer, chats, batch_size, max_new_tokens)
        gap, largest = largest_gap(of_run, of_written)
        record = {
            "run": run.name,
            "trained_as": trained_as(run),
            "base": run.path,
            "adapter": str(run.adapter) if run.adapter else None,
            "trained_on_bits": 4 if run.model.load_in_4bit else 8 if run.model.load_in_8bit else None,
            "dtype": dtype,
            "logits": {"largest_gap": gap, "largest_logit": largest, "sentences": len(sentences)},
            "answers": {"rows": len(chats), "equal": _share_equal(answers, again)},
            "adapter_notes": server_notes(run.adapter) if run.adapter else [],
            "packages": {name: version(name) for name in ("midalign", "transformers", "peft", "torch")},
        }
        (staging / EXPORTED).write_text(json.dumps(record, indent=1), encoding="utf-8")
    return record


def _write(model, tokenizer, folder):
    """Weights, configuration and tokenizer, and in generation_config.json where answers end."""
    settings = model.generation_config
    if tokenizer.chat_template is not None:
        settings.eos_token_id = stop_ids(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _merged(model):
    """The model with its adapter inside.   model: PeftModel, float32."""
    base = model.get_base_model()
    if base.config.tie_word_embeddings:
        for layer in (base.get_input_embeddings(), base.get_output_embeddings()):
            if isinstance(layer, BaseTunerLayer):
                # Head and embeddings share a weight, but not its update: merged in place, both would get it.
                own = layer.get_base_layer()
                own.weight = torch.nn.Parameter(own.weight.detach().clone())
                base.config.tie_word_embeddings = False
    return model.merge_and_unload(safe_merge=True)


def _require_equal(expected, got, what):
    gap, largest = largest_gap(expected, got)
    if not gap <= TOLERANCE * largest:  # also where one is NaN
        raise MidalignError(
            f"{what} differ by {gap:.1e} in a logit (the largest is {largest:.1f}); nothing was written."
        )


def _share_equal(one, other):
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one) if one else None

"""Whether two models are one: logits on sample sentences, side by side.   Legend: T tokens, V vocabulary."""

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from midalign.data.tokens import sentence_ids
from midalign.demo import corpus

TOLERANCE = 1e-4  # of the largest logit: float32 sums of a few thousand terms in another order differ by 1e-6 to 1e-5


def sample_sentences(count):
    """Sentences of the embedded corpus, its languages in turn.   Returns list[str]."""
    each = [corpus.rows(locale, "test") for locale in corpus.DEMO_LOCALES]
    return [rows[i]["utt"] for i in range(-(-count // len(each))) for rows in each][:count]


@torch.inference_mode()
def logits(model, tokenizer, sentences):
    """The logits at every token of every sentence, one sentence at a time so that no padding has a part.

    Returns a list of (T, V), float32, on the CPU.
    """
    model.eval()
    found = []
    for ids in sentence_ids(tokenizer, sentences):
        batch = torch.tensor([ids], device=model.device)
        found.append(model(input_ids=batch, use_cache=False).logits[0].float().cpu())
    return found


def largest_gap(expected, got):
    """(largest difference of two logits, largest logit) of two results of `logits`, both in natural units."""
    pairs = list(zip(expected, got, strict=True))
    return max((a - b).abs().max().item() for a, b in pairs), max(a.abs().max().item() for a, _ in pairs)


def gap_of_merged(model, tokenizer, task, align, chosen, merged, sentences):
    """`largest_gap` between PEFT with both adapters active at their weights and PEFT with the merged one.

    model: the base, float32; it is wrapped.   task, align, merged: folders.   chosen: `merging.coefficients`.
    """
    model = PeftModel.from_pretrained(model, task, adapter_name="task", use_safetensors=True)
    model.load_adapter(align, adapter_name="align", use_safetensors=True)
    model.load_adapter(merged, adapter_name="merged", use_safetensors=True)
    for name, module in model.base_model.model.named_modules():
        if isinstance(module, LoraLayer) and name in chosen:
            for adapter, weight in zip(("task", "align"), chosen[name], strict=True):
                if adapter in module.scaling:
                    module.scaling[adapter] *= weight
    model.base_model.set_adapter(["task", "align"])
    expected = logits(model, tokenizer, sentences)
    model.base_model.set_adapter("merged")
    return largest_gap(expected, logits(model, tokenizer, sentences))

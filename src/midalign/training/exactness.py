"""One pair, once, at the start of a run: do the fast ways give the states of the plain one, on this very model?"""

from contextlib import contextmanager

import torch

from midalign.alignment.hidden import decoder_of
from midalign.data.batches import pad_sentences
from midalign.data.columns import row_of_longest
from midalign.data.packing import pack_behind_prefix, pack_sentences
from midalign.errors import InputError
from midalign.layers import layers_of
from midalign.training.forward import states_of


class ExactAtStart:
    """Mixin over SFTTrainer that looks before the first step, once the engine has the model."""

    def _prepare_for_training(self, *args, **kwargs):
        prepared = super()._prepare_for_training(*args, **kwargs)
        self.require_exact()
        return prepared

    def require_exact(self):
        """As the function of this name, with what this trainer would train. Nothing to ask without a pair half."""
        if self.args.align_schedule == "sft":
            return
        pad, packed = (self._collate_pairs.keywords[key] for key in ("pad_token_id", "packed"))
        # accelerate puts autocast into the model's own forward pass, where it cannot be seen from outside.
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.accelerator.mixed_precision)
        with self.compute_loss_context_manager():
            require_exact(self.model, self.pairs, self.align_layer, pad, packed, half)


@torch.no_grad()
def require_exact(model, pairs, layer, pad_token_id, packed, half=None):
    """Refuse to train where the early exit, or packed sentences, give other states than `output_hidden_states`.

    model: bare, on its engine; each process asks the same of it.   pairs: as in training, the longest one is taken.
    layer: a number, or a list of them.
    packed: whether they are packed in training.   half: the dtype that the model computes in by itself, if any.
    States differ when the mean over a sentence's tokens of |difference| / |state| passes `_tolerance`. Parameters,
    buffers, gradients, the random state and each module's mode stay as they are. Raises InputError.
    """
    sentences = _sentences(pairs)
    padded = _to(model.device, pad_sentences(sentences, pad_token_id))
    with evaluating(model):
        every = model(
            **padded,
            output_hidden_states=True,
            use_cache=False,
            logits_to_keep=padded["input_ids"].new_empty(0),  # the head is not asked for
        ).hidden_states
        plain = [every[number] for number in layers_of(layer)]
        name, allowed = type(decoder_of(model)).__name__, _tolerance(model, plain[0], half)
        try:
            states = states_of(model, padded, layer)
        except ValueError as error:
            raise InputError(str(error)) from error
        for number, early, own in zip(layers_of(layer), layers_of(states), plain, strict=True):
            distance = _distance(early, own, padded["attention_mask"])
            if distance > allowed:
                raise InputError(
                    f"at layer {number} of {name} the early exit does not give the states of output_hidden_states "
                    f"(relative difference {distance:.1g}, {allowed:.1g} allowed): it would align something else; use "
                    "a decoder built like Llama, Qwen3, Gemma 3 or Mistral."
                )
        if packed:
            in_prompt = "source_start" in pairs.column_names
            pack = pack_behind_prefix(sentences, [0] * len(sentences)) if in_prompt else pack_sentences(sentences)
            states = states_of(model, _to(model.device, pack), max(layers_of(layer)))
            distance = _distance(states, plain[-1], padded["attention_mask"])
            if distance > allowed:
                raise InputError(
                    f"packed sentences get other states from {name} than padded ones (relative difference "
                    f"{distance:.1g}, {allowed:.1g} allowed); set pack_pairs: false and share_prefix: false."
                )


def _sentences(pairs):
    """The longest pair, and the halves of its longer side: two at least share a packed sequence."""
    pair = pairs[row_of_longest(pairs, "source", "target")]
    source, target = pair["source"], pair["target"]
    longer = max(source, target, key=len)
    middle = (len(longer) + 1) // 2
    return [ids for ids in (source, target, longer[:middle], longer[middle:]) if ids]


def _distance(states, plain, mask):
    """The largest of all sentences' mean relative difference, infinite where shapes differ.   mask: (sentences, T).

    A state that is no number makes it NaN, which is above nothing: the guards name that one.
    """
    if states.shape != plain.shape:
        return float("inf")
    states, plain, mask = states.float(), plain.float(), mask.bool()
    difference = (states - plain).norm(dim=-1) / plain.norm(dim=-1).clamp_min(1e-30)  # (sentences, T)
    return (difference.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1)).max().item()


def _tolerance(model, states, half=None):
    """Half of the digits of the coarsest dtype that takes part: 3e-4 in float32, 0.03 in float16, 0.09 in bfloat16.

    As bfloat16 counts what rounds coarsely inside of products (quantised weights, TF32), and a choice of experts: there
    a rounding can choose another one.
    """
    parameters, device = list(model.parameters()), states.device.type
    dtypes = {half or states.dtype, *(p.dtype for p in parameters if p.is_floating_point())}
    if torch.is_autocast_enabled(device):
        dtypes.add(torch.get_autocast_dtype(device))
    experts = any("expert" in name or "router" in name for name, _ in model.named_modules())
    tf32 = device == "cuda" and torch.backends.cuda.matmul.allow_tf32
    if experts or tf32 or not all(p.is_floating_point() for p in parameters):
        dtypes.add(torch.bfloat16)
    return max(torch.finfo(dtype).eps for dtype in dtypes) ** 0.5


def _to(device, batch):
    return {name: value.to(device) for name, value in batch.items()}


@contextmanager
def evaluating(model):
    """Without dropout, and with each module's mode as before at the end."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True

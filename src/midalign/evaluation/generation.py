"""Greedy answers of a causal LM to chat prompts, faster than `model.generate` and equal to it.

All prompts begin with the same instruction: its keys and values are computed once and reused in every batch. A
batch is [shared | padding | own tokens | answers], with explicit positions; prompts of similar length share one,
and a row that has ended leaves it at once instead of waiting for the slowest.

Legend: B rows of a batch, P shared tokens, T tokens so far, answers included.
"""

from copy import deepcopy

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from midalign.data.tokens import prompt_ids
from midalign.errors import InputError

BATCH_SIZE = 32
MAX_NEW_TOKENS = 128  # the longest MASSIVE answer has fewer in every tokenizer we tried


def generate(model, tokenizer, chats, batch_size=BATCH_SIZE, max_new_tokens=MAX_NEW_TOKENS):
    """One answer for each chat, in order: list[str] without special tokens. Arguments as in `generate_batches`."""
    answers = [""] * len(chats)
    for batch, texts in generate_batches(model, tokenizer, chats, batch_size, max_new_tokens):
        for i, text in zip(batch, texts, strict=True):
            answers[i] = text
    return answers


def generate_batches(model, tokenizer, chats, batch_size=BATCH_SIZE, max_new_tokens=MAX_NEW_TOKENS):
    """Yield (places in `chats`, their answers), batch after batch, the longest prompts first.

    chats: lists of messages; prompts equal the training prompts token for token.   The answer to a prompt is the
    argmax of the logits token by token, up to an end of turn or `max_new_tokens`: a repetition penalty in the
    model's generation_config.json (Qwen2.5 has one) is not applied, because an answer must repeat the prompt's words.
    Raises InputError for an architecture whose memory is not attention over a cache of keys and values.
    """
    prompts = [prompt_ids(tokenizer, chat) for chat in chats]
    if not prompts:
        return
    model.eval()
    stop = torch.tensor(_stop_ids(model, tokenizer), device=model.device)
    shared = _shared_length(prompts)
    prefix = DynamicCache(config=model.config)
    batches = _batches(prompts, batch_size, _window(prefix), max_new_tokens)
    if shared:
        _prefill(model, prompts[0][:shared], prefix)
    for batch in batches:
        own = [prompts[i][shared:] for i in batch]
        answers = _answer(model, own, prefix, shared, stop, max_new_tokens)
        yield batch, tokenizer.batch_decode(answers, skip_special_tokens=True)


def _shared_length(prompts):
    """Length of the longest common prefix, at least one token less than any prompt. Returns int."""
    low, high = min(prompts), max(prompts)  # in dictionary order, the two that differ soonest
    limit = min(map(len, prompts)) - 1
    return next((i for i in range(limit) if low[i] != high[i]), limit)


def _batches(prompts, batch_size, window, max_new_tokens):
    """Places in `prompts`, long prompts first, in lists of at most `batch_size`.

    Padding inside a row would push tokens out of a sliding window; prompts that may outgrow it only meet equals.
    """
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    batch = []
    for i in order:
        longest = len(prompts[batch[0]]) if batch else len(prompts[i])
        padded = longest != len(prompts[i])
        if len(batch) == batch_size or (padded and window is not None and longest + max_new_tokens > window):
            yield batch
            batch = []
        batch.append(i)
    yield batch


def _window(cache):
    """Tokens that a sliding-window layer sees, None without such layers. Raises InputError for other memories."""
    other = {type(layer) for layer in cache.layers} - {DynamicLayer, DynamicSlidingWindowLayer}
    if other:
        raise InputError(
            f"this model keeps its past in {other.pop().__name__}, but our generation is exact for full and "
            "sliding-window attention only; use `lm_eval --tasks massive_slots` for it."
        )
    windows = [layer.sliding_window for layer in cache.layers if isinstance(layer, DynamicSlidingWindowLayer)]
    return min(windows, default=None)


@torch.inference_mode()
def _prefill(model, ids, cache):
    """Fill an empty `cache` with the keys and values of `ids`, in one row."""
    ids = torch.tensor([ids], device=model.device)
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)


@torch.inference_mode()
def _answer(model, own, prefix, shared, stop, max_new_tokens):
    """Answer ids of one batch, end of turn excluded.

    own: B lists, the prompts' ids after the shared ones.   prefix: their cache, kept as it is.   stop: (ids,).
    Returns B lists of int.
    """
    width = max(map(len, own))
    padding = [width - len(ids) for ids in own]
    ids = torch.tensor([[0] * p + row for p, row in zip(padding, own, strict=True)], device=model.device)
    mask = torch.tensor([[1] * shared + [0] * p + [1] * (width - p) for p in padding], device=model.device)  # (B, T)
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
    cache = deepcopy(prefix)
    cache.batch_repeat_interleave(len(own))
    answers = [[] for _ in own]
    alive = torch.arange(len(own), device=model.device)  # the row of `answers` behind each row of the batch
    for _ in range(max_new_tokens):
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens = output.logits[:, -1].argmax(-1)  # (B,)
        goes_on = ~torch.isin(tokens, stop)
        if not goes_on.all():
            kept = goes_on.nonzero()[:, 0]
            if len(kept) == 0:
                break
            cache.batch_select_indices(kept)
            tokens, mask, positions, alive = tokens[kept], mask[kept], positions[kept], alive[kept]
        for row, token in zip(alive.tolist(), tokens.tolist(), strict=True):
            answers[row].append(token)
        ids = tokens[:, None]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        positions = positions[:, -1:] + 1
    return answers


def _stop_ids(model, tokenizer):
    """The tokenizer's end of turn and whatever else the model was made to stop at."""
    configured = model.generation_config.eos_token_id
    configured = configured if isinstance(configured, list) else [configured]
    return sorted({tokenizer.eos_token_id, *configured} - {None})

"""Micro-batches of tensors: a task half, a pair half, or both.

Legend: B pairs, T tokens of the longest sentence.
"""

import torch
from torch.utils.data import DataLoader, Dataset

from midalign.data.packing import cost, pack_behind_prefix, pack_sentences, pack_task


class Halves(Dataset):
    """Task rows and pairs side by side; a `MicroBatch` picks from both."""

    def __init__(self, task_rows, pairs):
        self.task_rows, self.pairs = task_rows, pairs

    def __len__(self):
        return len(self.task_rows)

    def __getitems__(self, micro_batch):
        return rows_at(self.task_rows, micro_batch.task), rows_at(self.pairs, micro_batch.pairs)


def rows_at(rows, places):
    """Some rows of a Dataset, as dicts; a list of them."""
    return rows.__getitems__(places) if places else []


def collate_halves(halves, collate_task, collate_pairs, task_tokens=None):
    """(task rows, pairs) -> the trainer's inputs: the task half's tensors, the pair half under `pairs`.

    task_tokens: the most tokens that one pass of the task half computes; what does not fit goes into the list
    `parts`, batches of their own that belong to the same micro-batch.
    """
    task, pairs = halves
    *parts, batch = _split(task, collate_task, task_tokens) if task else [{}]
    if parts:
        batch["parts"] = parts
    if pairs:
        batch["pairs"] = collate_pairs(pairs)
    return batch


def _split(rows, collate, tokens):
    """Batches of rows of similar length, each of at most `tokens` computed tokens (or of one row)."""
    batch = collate(rows)
    if tokens is None or len(rows) == 1 or batch["input_ids"].numel() <= tokens:
        return [batch]
    rows, half = sorted(rows, key=lambda row: len(row["input_ids"])), len(rows) // 2
    return [*_split(rows[:half], collate, tokens), *_split(rows[half:], collate, tokens)]


def collate_task(rows, pad, hidden_size):
    """Task rows in packed sequences, or padded by `pad` where that costs less: long rows that have little in common.

    hidden_size: None where attention passes over what is masked, so that one long sequence costs least.
    """
    packed = pack_task(rows, hidden_size)
    width = max(len(row["input_ids"]) for row in rows)
    if hidden_size is None or cost(*packed["input_ids"].shape, hidden_size) < cost(len(rows), width, hidden_size):
        return packed
    return pad_task(rows, pad)


def pad_task(rows, pad):
    """Task rows as `pad` puts them side by side; where rows have a number of their task, with `tasks`: (rows, 1)."""
    batch = pad(rows)
    return {**batch, "tasks": torch.tensor([[row["task"]] for row in rows])} if "task" in rows[0] else batch


def collate_pairs(pairs, pad_token_id, packed=False, chunk=None, hidden_size=None):
    """Both sides of B pairs, in chunks that go through the model one after the other.

    pairs: rows of `data.tokens.pair_rows`; of sentences in a prompt only what follows `source_start`, `target_start`
    is pooled.   packed: lay sentences end to end (`packing.pack_sentences`), or behind the prompt that they share
    (`packing.pack_behind_prefix`, with hidden_size); else they are right-padded.
    chunk: pairs of a chunk, the sources above the targets; all of them when None.
    Returns chunks: list of {input_ids, attention_mask: (2b, T) int64, with a prompt also pooled: the same, 1 = token
    that is pooled; or what packing gives}; source_text, target_text: (B,) int64, equal where texts are identical;
    padding: share of computed tokens that are none.
    """
    chunk = chunk or len(pairs)
    chunks, tokens, computed = [], 0, 0
    for start in range(0, len(pairs), chunk):
        own = [(pair, side) for side in ("source", "target") for pair in pairs[start : start + chunk]]
        sentences = [pair[side] for pair, side in own]
        starts = [pair[f"{side}_start"] for pair, side in own] if "source_start" in pairs[0] else None
        chunks.append(_chunk(sentences, starts, pad_token_id, packed, hidden_size))
        size = chunks[-1]["input_ids"].numel()
        computed += size
        tokens += size if packed and starts else sum(map(len, sentences))
    return {
        "chunks": chunks,
        "source_text": torch.tensor([pair["source_text"] for pair in pairs]),
        "target_text": torch.tensor([pair["target_text"] for pair in pairs]),
        "padding": 1 - tokens / computed,
    }


def _chunk(sentences, starts, pad_token_id, packed, hidden_size):
    if packed:
        return pack_behind_prefix(sentences, starts, hidden_size) if starts else pack_sentences(sentences)
    chunk = pad_sentences(sentences, pad_token_id)
    if starts:
        before = torch.arange(chunk["input_ids"].size(1)) < torch.tensor(starts)[:, None]
        chunk["pooled"] = chunk["attention_mask"].masked_fill(before, 0)
    return chunk


def pad_sentences(sentences, pad_token_id):
    """Lists of ids -> {input_ids, attention_mask}: (sentences, T) int64, padded on the right."""
    width = max(map(len, sentences))
    return {
        "input_ids": torch.tensor([ids + [pad_token_id] * (width - len(ids)) for ids in sentences]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in sentences]),
    }


class HalvesLoader(DataLoader):
    """A loader of `Halves` that its sampler, already aware of processes, drives; accelerate must not shard it."""

    def set_epoch(self, epoch):
        self.batch_sampler.set_epoch(epoch)

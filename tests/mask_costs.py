"""What long batches cost: time and memory of rows of 250 to 750 tokens that share 50, with each kind of mask.

OMP_NUM_THREADS=1 python tests/mask_costs.py [TOKENS ...]       (1024 4096 16384; ten minutes on a CPU)

Two layers of SmolLM2-135M's sizes, random weights, float32, no head. Seconds are of a CPU (`time.process_time`), of the
clock on a GPU; each figure is of a process of its own, after one turn that is not counted (it compiles).
"""

import multiprocessing
import random
import sys
import time

import torch
import transformers

from midalign.bench.training import _memory
from midalign.data.batches import pad_sentences
from midalign.data.packing import pack_task
from midalign.training.forward import block_mask

WAYS = {  # attention, sequences
    "padded": ("sdpa", None),
    "dense, one sequence": ("sdpa", "one"),
    "dense, several sequences": ("sdpa", "several"),
    "flex, one sequence": ("flex_attention", "one"),
}
HIDDEN = 576


def rows_of(tokens):
    """Rows until one packed sequence of them has so many tokens."""
    draw, rows = random.Random(0), []
    prefix = [1] * 50
    while tokens > 50:
        own = min(draw.randint(200, 700), tokens - 50)
        tokens -= own
        ids = prefix + [draw.randrange(2, 1000) for _ in range(own)]
        rows.append({"input_ids": ids, "labels": [-100] * 51 + ids[51:]})
    return rows


def measure(way, tokens, answers):
    attention, sequences = WAYS[way]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    now = time.perf_counter if device == "cuda" else time.process_time
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=1000, hidden_size=HIDDEN, intermediate_size=1536, num_hidden_layers=2, num_attention_heads=9,
        num_key_value_heads=3, attn_implementation=attention,
    )  # fmt: skip
    model = transformers.LlamaModel(config).to(device)
    rows = rows_of(tokens)
    if sequences is None:
        batch = pad_sentences([row["input_ids"] for row in rows], 0)
    else:
        batch = pack_task(rows, HIDDEN if sequences == "several" else None)
    batch = {key: value.to(device) for key, value in batch.items() if key != "saved"}

    def step(gradient):
        """(seconds, MiB) at the end of the forward pass, and of the backward pass where there is one."""
        before, start = _memory(reset=True), now()
        if sequences is None:
            inputs = {"attention_mask": batch["attention_mask"]}
        else:
            mask = block_mask(model, batch["segments"], batch["prefixes"], batch["position_ids"])
            inputs = {"attention_mask": mask, "position_ids": batch["position_ids"]}
        with torch.set_grad_enabled(gradient):
            loss = model(batch["input_ids"], use_cache=False, **inputs).last_hidden_state.square().mean()
        if gradient:
            loss.backward()
        loss.item()  # waits for a GPU
        return now() - start, _memory(reset=False) - before

    trains = attention != "flex_attention" or device == "cuda"
    found = []
    for gradient in (False, True) if trains else (False,):
        step(gradient)
        turns = [step(gradient) for _ in range(1 if tokens > 8192 else 3)]
        found.append(sorted(turns)[len(turns) // 2])
    answers.put(("x".join(map(str, batch["input_ids"].shape)), len(rows), *found))


def main():
    sizes = list(map(int, sys.argv[1:])) or [1024, 4096, 16384]
    print("| packed tokens (rows) | mask | computed | forward s | MiB | forward and backward s | MiB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    context = multiprocessing.get_context("spawn")
    for tokens in sizes:
        for way in WAYS:
            answers = context.SimpleQueue()
            process = context.Process(target=measure, args=(way, tokens, answers))
            process.start()
            process.join()
            if process.exitcode:
                print(f"| {tokens:,} | {way} | failed | | | | |", flush=True)
                continue
            shape, rows, *found = answers.get()
            cells = [f"{seconds:.2f} | {memory:,.0f}" for seconds, memory in found] + ["no gradient | "] * (
                2 - len(found)
            )
            print(f"| {tokens:,} ({rows}) | {way} | {shape} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

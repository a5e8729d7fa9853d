"""Pairs alone and in the task's prompt: what a pair half costs, and what a model finds of held-out translations.

python tests/pair_context.py RECIPE [overrides]

With the adapter in the recipe's output_dir where one is there. Seconds are of one thread's CPU time, forward and
backward, medians of turns; retrieval@1 is that of an evaluation in training, mean over languages.
"""

import statistics
import sys
import time
from itertools import groupby
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model
from trl import get_peft_config

from midalign.alignment.losses import alignment_loss, retrieval_at_1, similarity
from midalign.alignment.negatives import false_negatives
from midalign.data.batches import collate_pairs
from midalign.models.loading import load_model
from midalign.recipe import read_recipe
from midalign.training.forward import pooled_pairs
from midalign.training.prepare import prepare

TURNS = 7


def of(context):
    data, args, config = read_recipe([*sys.argv[1:], "--align_context", context])
    return prepare(data, args, config, "skip"), args, config


@torch.no_grad()
def retrieval(model, pairs, args):
    found = []
    for _, own in groupby(pairs, lambda pair: pair["language"]):
        batch = collate_pairs(list(own), 0, packed=True)
        pooling = args.align_layer, args.align_pooling, args.align_pool_skip_first
        scores = similarity(*pooled_pairs(model, batch["chunks"], *pooling), args.align_center)
        found.append(retrieval_at_1(scores, false_negatives(batch["source_text"], batch["target_text"])).item())
    return statistics.mean(found)


def main():
    torch.set_num_threads(1)
    (alone, args, config), (asked, *_) = of("plain"), of("task")
    base = load_model(alone.path, config, "sdpa")
    trained = Path(args.output_dir, "adapter_config.json").is_file()
    model = (
        PeftModel.from_pretrained(base, args.output_dir, is_trainable=True)
        if trained
        else get_peft_model(base, get_peft_config(config))
    )
    for name, pairs in (("alone", alone.held_out_pairs), ("in the prompt", asked.held_out_pairs)):
        print(f"retrieval@1 {name}: {retrieval(model.eval(), pairs, args):.3f}", flush=True)
    ways = {
        "alone": (alone.pairs, True),
        "in the prompt": (asked.pairs, True),
        "in the prompt, padded": (asked.pairs, False),
    }
    order = torch.randperm(len(alone.pairs), generator=torch.Generator().manual_seed(args.seed)).tolist()
    seconds = {name: [] for name in ways}
    for turn in range(TURNS + 1):
        for name, (pairs, packed) in ways.items():
            chunks = collate_pairs([pairs[i] for i in order[: args.align_batch_size]], 0, packed)["chunks"]
            start = time.process_time()
            pooled = pooled_pairs(
                model.train(), chunks, args.align_layer, args.align_pooling, args.align_pool_skip_first
            )
            alignment_loss(*pooled, args.align_temperature, center=args.align_center).backward()
            model.zero_grad(set_to_none=True)
            if turn:
                seconds[name].append(time.process_time() - start)
            else:
                print(
                    f"{args.align_batch_size} pairs {name}: {chunks[0]['input_ids'].numel()} tokens computed",
                    flush=True,
                )
    for name, own in seconds.items():
        print(f"pair half {name}: {statistics.median(own):.2f} s")


main()

"""Peak memory of a pair half whose pairs are shared by all processes, with and without chunks.

OMP_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=65536 torchrun --nproc_per_node 2 tests/pair_memory.py

SmolLM2-135M's sizes, random weights, LoRA. Without the threshold glibc keeps what is freed, and that is measured.
"""

import time

import torch
import torch.distributed as dist
import transformers
from peft import LoraConfig, get_peft_model

from midalign.alignment.losses import alignment_loss
from midalign.alignment.negatives import from_all_processes
from midalign.data.batches import collate_pairs
from midalign.models.room import peak_bytes
from midalign.training.forward import pooled_pairs

TOKENS = 12  # of a sentence


def main():
    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())
    cpu = torch.device("cpu")
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True, attn_implementation="sdpa",
    )  # fmt: skip
    lora = LoraConfig(r=8, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(transformers.LlamaForCausalLM(config), lora).train()
    for total, chunk in ((64, None), (64, 16), (256, None), (1024, 16)):
        own = total // dist.get_world_size()
        words = torch.randint(0, 49152, (2 * own, TOKENS)).tolist()
        pairs = [
            {"source": words[2 * i], "target": words[2 * i + 1], "source_text": i, "target_text": i} for i in range(own)
        ]
        batch = collate_pairs(pairs, 0, packed=False, chunk=chunk)
        before, start = peak_bytes(cpu, reset=True), time.perf_counter()
        alignment_loss(*map(from_all_processes, pooled_pairs(model, batch["chunks"], 15, "mean", False))).backward()
        peak, seconds = torch.tensor((peak_bytes(cpu) - before) / 2**20), time.perf_counter() - start
        model.zero_grad(set_to_none=True)
        dist.all_reduce(peak, dist.ReduceOp.MAX)
        if dist.get_rank() == 0:
            way = f"in chunks of {chunk}" if chunk else "at once"
            print(
                f"{total} pairs on {dist.get_world_size()} processes, {way}: {peak:.0f} MiB, {seconds:.1f} s",
                flush=True,
            )
    dist.destroy_process_group()


main()

"""Merge two adapters with the shapes of Llama 3 8B: seconds, peak memory and error.

python tests/models/merge_8b.py FOLDER       (writes 0.4 GB there)
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from transformers import LlamaConfig

from midalign.models.adapters import PREFIX
from midalign.models.merged import merge

WIDTH, INNER, KEYS, LAYERS = 4096, 14336, 1024, 32
SHAPES = {
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (KEYS, WIDTH),
    "self_attn.v_proj": (KEYS, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (INNER, WIDTH),
    "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}


def adapter(folder, base, rank, seed):
    """A folder with random factors for every projection of every layer."""
    torch.manual_seed(seed)
    tensors = {}
    for layer in range(LAYERS):
        for name, (out, into) in SHAPES.items():
            tensors[f"{PREFIX}model.layers.{layer}.{name}.lora_A.weight"] = torch.randn(rank, into) / into**0.5
            tensors[f"{PREFIX}model.layers.{layer}.{name}.lora_B.weight"] = torch.randn(out, rank) * 0.01
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = [name.rpartition(".")[2] for name in SHAPES]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, base_model_name_or_path=str(base))
    config.save_pretrained(folder)
    return folder


def main(folder):
    base = folder / "base"
    LlamaConfig(hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS).save_pretrained(base)
    parts = adapter(folder / "task", base, 8, 1), adapter(folder / "align", base, 16, 2)
    figures = {}
    for name, rank in (("exact", None), ("rank 16", 16)):
        started = time.perf_counter()
        record = merge(*parts, folder / name, weights=(1.0, 0.7), rank=rank, check_logits=False)
        figures[name] = {"seconds": time.perf_counter() - started, "relative_error": record["relative_error"]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({**figures, "relative_error": figures["exact"]["relative_error"], "peak_gib": peak,
                      "modules": LAYERS * len(SHAPES)}))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))

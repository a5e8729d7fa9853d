"""Gradients of a pair half whose negatives come from two processes, beside those of one process with all pairs.

torchrun --nproc_per_node 2 tests/pair_gradients.py   (prints a line a case; fails where gradients differ)
"""

from unittest import mock

import torch
import torch.distributed as dist
import transformers
from peft import LoraConfig, get_peft_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from midalign.alignment.hidden import decoder_of
from midalign.alignment.losses import alignment_loss
from midalign.alignment.negatives import from_all_processes
from midalign.data.batches import collate_pairs
from midalign.training import forward

LAYER, PAIRS = 2, 12
LORA = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", "init_lora_weights": False}


def make_model(lora, dropout=0.0):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, pad_token_id=0, tie_word_embeddings=False, attn_implementation="sdpa",
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    return get_peft_model(model, LoraConfig(lora_dropout=dropout, **LORA)) if lora else model


def task_loss(model, rows):
    ids = torch.arange(1, 41).view(4, 10)[rows]
    return model(input_ids=ids, labels=ids).loss


def make_pairs():
    draw = torch.Generator().manual_seed(1)

    def sentence():
        return torch.randint(1, 50, (int(torch.randint(2, 9, (), generator=draw)),), generator=draw).tolist()

    return [
        {"source": sentence(), "target": sentence(), "source_text": i, "target_text": i, "language": "de"}
        for i in range(PAIRS)
    ]


def loss_of(model, pairs, chunk=None, packed=False, checkpointed=True):
    batch = collate_pairs(pairs, 0, packed, chunk)

    def plain(function, *args, use_reentrant):
        return function(*args)

    with mock.patch.object(forward, "checkpoint", forward.checkpoint if checkpointed else plain):
        sides = forward.pooled_pairs(model, batch["chunks"], LAYER, "mean", False)
    return alignment_loss(*map(from_all_processes, sides))


def loss_of_all(model, pairs):
    """In one process, without any gathering."""
    return alignment_loss(*forward.pooled_pairs(model, collate_pairs(pairs, 0)["chunks"], LAYER, "mean", False))


def whole(gradient):
    return gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient


def gradients(model):
    return {name: whole(p.grad) for name, p in model.named_parameters() if p.grad is not None}


def averaged(gradients_here):
    """As DDP does it."""
    for gradient in gradients_here.values():
        dist.all_reduce(gradient)
        gradient /= dist.get_world_size()
    return gradients_here


def require_equal(found, expected, to, case):
    assert found.keys() == expected.keys(), (case, found.keys() ^ expected.keys())
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    differences = [(found[name] - expected[name]).abs().max().item() / largest for name in expected]
    assert max(differences) < to, (case, max(differences))
    if dist.get_rank() == 0:
        print(f"{case}: {max(differences):.1e} of the largest entry, {largest:.1e}", flush=True)


def sharded(model):
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in decoder_of(model).layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert isinstance(model, FSDPModule) and isinstance(decoder_of(model).layers[0], FSDPModule)
    return model


def is_root(module):
    return module._get_fsdp_state()._is_root


def main():
    dist.init_process_group("gloo")
    rank, pairs = dist.get_rank(), make_pairs()
    own = pairs[rank * PAIRS // 2 : (rank + 1) * PAIRS // 2]
    for lora in (False, True):
        name = "lora" if lora else "full"
        one = make_model(lora)
        loss_of_all(one, pairs).backward()
        expected = gradients(one)
        for packed, chunk in ((False, None), (True, None), (False, 2)):
            case = f"{name}, {'packed' if packed else 'padded'}, {'in chunks' if chunk else 'at once'}"
            plain = make_model(lora)
            loss_of(plain, own, chunk, packed).backward()
            require_equal(averaged(gradients(plain)), expected, 1e-6, f"gathered, {case}")
            shards = sharded(make_model(lora))
            loss_of(shards, own, chunk, packed).backward()
            require_equal(gradients(shards), expected, 1e-6, f"fully_shard, {case}")
        one = make_model(lora)
        (task_loss(one, slice(None)) + loss_of_all(one, pairs)).backward()
        halves = {
            "task": lambda model: task_loss(model, slice(2 * rank, 2 * rank + 2)),
            "pairs": lambda model: loss_of(model, own),
        }
        for first, second in (halves, reversed(halves)):  # the first call is where fully_shard looks for its layers
            shards = sharded(make_model(lora))
            (halves[first](shards) + halves[second](shards)).backward()
            roots = [module for module in shards.modules() if isinstance(module, FSDPModule) and is_root(module)]
            assert roots == [shards], f"{len(roots)} modules wait for gradients of their own"
            require_equal(gradients(shards), gradients(one), 1e-6, f"fully_shard, {name}, {first} before {second}")

    found = {}
    for checkpointed in (True, False):
        model = make_model(lora=True, dropout=0.1).train()
        torch.manual_seed(7 + rank)
        loss_of(model, own, 2, checkpointed=checkpointed).backward()
        found[checkpointed] = averaged(gradients(model))
    model.zero_grad()
    torch.manual_seed(8 + rank)
    loss_of(model, own, 2).backward()
    other = averaged(gradients(model))
    assert any((other[key] - found[True][key]).abs().max() > 1e-4 for key in other), "dropout draws nothing"
    require_equal(found[True], found[False], 1e-5, "gathered, GradCache with dropout")
    dist.destroy_process_group()


main()

"""Middle-layer alignment (arXiv 2502.14830) as a loop one can read, in plain torch and transformers.

    python examples/loop.py            the embedded model and corpus: no network, no GPU, about a minute
    python examples/loop.py MODEL      a folder or a model of the hub, with LoRA, on the same small corpus

`train` is the method. `main` shows it at work, and takes nothing from midalign but the model and the sentences; on the
embedded model it printed that 4 of 100 unseen German commands found their translation before, and 83 after 100 steps.
midalign's trainer gives the same losses and weights and does less work: it stops at the aligned layer, computes what
rows share once, and lays sentences end to end. B rows or pairs, T tokens, H hidden width.
"""

import random
import sys

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

NOT_TRAINED = -100


def chat_ids(tokenizer, row):
    """A row {"prompt": [messages], "completion": [a message]} as (ids, labels); trained are the answer and its end."""
    own = {"sanitize_control_tokens": True, "return_dict": False}  # <|im_end|> in a message stays text
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, **own)
    ids = tokenizer.apply_chat_template(row["prompt"] + row["completion"], **own)
    return ids, [NOT_TRAINED] * len(prompt) + ids[len(prompt) :]


def padded(rows, value, device):
    """Lists of several lengths -> (B, T) int64, padded on the right."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value).to(device)


def task_loss(model, tokenizer, rows):
    """Cross entropy of the answers, summed over their tokens.   Returns a scalar, float32, in nats."""
    ids, labels = zip(*(chat_ids(tokenizer, row) for row in rows), strict=True)
    mask = padded([[1] * len(row) for row in ids], 0, model.device)
    logits = model(input_ids=padded(ids, tokenizer.pad_token_id, model.device), attention_mask=mask).logits
    logits = logits[:, :-1].float().flatten(0, 1)  # the state of a token predicts the next one
    following = padded(labels, NOT_TRAINED, model.device)[:, 1:].flatten()
    return F.cross_entropy(logits, following, ignore_index=NOT_TRAINED, reduction="sum")


def sentence_states(model, tokenizer, texts, layer):
    """The output of decoder layer `layer`, averaged over each sentence's tokens.   Returns (B, H) float32."""
    ids = tokenizer(texts, split_special_tokens=True)["input_ids"]  # no chat template: bare sentences
    mask = padded([[1] * len(row) for row in ids], 0, model.device)
    ids = padded(ids, tokenizer.pad_token_id, model.device)
    states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, logits_to_keep=1).hidden_states
    mask = mask.unsqueeze(-1).float()  # (B, T, 1); states[0] are the embeddings
    return (states[layer].float() * mask).sum(dim=1) / mask.sum(dim=1)


def both_sides(model, tokenizer, pairs, layer):
    return [sentence_states(model, tokenizer, [pair[side] for pair in pairs], layer) for side in ("source", "target")]


def similarity(source, target, center):
    """Cosine of each source with each target.   source, target: (B, H).   Returns (B, B).

    center: subtract the batch's mean, the direction that all sentences of a small model share.
    """
    if center:
        source, target = source - source.mean(dim=0), target - target.mean(dim=0)
    return F.normalize(source, dim=-1) @ F.normalize(target, dim=-1).T


def align_loss(source, target, pairs, temperature, center):
    """InfoNCE: each source has to find its translation among all targets.   Returns the mean over pairs, in nats."""
    logits = similarity(source, target, center) / temperature  # (B, B)
    same = [[one["source"] == two["source"] or one["target"] == two["target"] for two in pairs] for one in pairs]
    same = torch.tensor(same, device=logits.device).fill_diagonal_(False)  # no negatives
    right = torch.arange(len(pairs), device=logits.device)
    return F.cross_entropy(logits.masked_fill(same, float("-inf")), right)


def train(model, tokenizer, steps, *, layer, learning_rate, weight=1.0, temperature=0.1, center=False):
    """Minimise, in every optimizer step, mean over task tokens + weight x mean over pairs; yields both means, in nats.

    steps: a list of optimizer steps, each a list of micro-batches (rows, pairs), whose gradients add up. A pair is
    {"source": text, "target": its translation into the language with labels}.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(steps))
    model.train()
    for step in steps:
        # A micro-batch's share of the means is its part of the whole step's tokens and pair halves.
        answers = [chat_ids(tokenizer, row)[1] for rows, _ in step for row in rows]
        tokens = sum(label != NOT_TRAINED for labels in answers for label in labels)
        means = {"loss/task": 0.0, "loss/align": 0.0}
        for rows, pairs in step:
            task = task_loss(model, tokenizer, rows) / tokens
            source, target = both_sides(model, tokenizer, pairs, layer)
            align = align_loss(source, target, pairs, temperature, center) / len(step)
            (task + weight * align).backward()
            means["loss/task"] += task.item()
            means["loss/align"] += align.item()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        yield means


@torch.no_grad()
def retrieval_at_1(model, tokenizer, pairs, layer):
    """Share of sources whose most similar target is their translation (0..1)."""
    model.eval()
    source, target = both_sides(model, tokenizer, pairs, layer)
    found = similarity(source, target, center=True).argmax(dim=1)
    return (found.cpu() == torch.arange(len(pairs))).float().mean().item()


def main(name="demo", count=100, accumulation=2):
    """Train on English commands and on pairs of German, Spanish and Turkish ones; measure on unseen German ones."""
    from midalign.demo import corpus
    from midalign.models.loading import model_path
    from midalign.tasks.slots import target

    torch.manual_seed(1)
    path = model_path(name, "data")
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    if name != "demo":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    layer = model.config.get_text_config().num_hidden_layers // 2
    asked = [(row["utt"], target(row["annot_utt"])) for row in corpus.rows("en-US", "train")]
    rows = [[{"role": "user", "content": ask}, {"role": "assistant", "content": answer}] for ask, answer in asked]
    rows = [{"prompt": [ask], "completion": [answer]} for ask, answer in rows]
    pairs, dice = corpus.pairs(["de", "es", "tr"]), random.Random(1)
    steps = [[(dice.sample(rows, 8), dice.sample(pairs, 24)) for _ in range(accumulation)] for _ in range(count)]
    both = zip(corpus.rows("de-DE", "test")[:100], corpus.rows("en-US", "test")[:100], strict=True)
    unseen = [{"source": german["utt"], "target": english["utt"]} for german, english in both]
    print(f"retrieval@1 of German before: {retrieval_at_1(model, tokenizer, unseen, layer):.2f}")
    running = train(model, tokenizer, steps, layer=layer, learning_rate=1e-3, weight=2.0, temperature=0.3, center=True)
    for number, means in enumerate(running, start=1):
        if number % 10 == 0 or number == count:
            print(f"step {number}/{count}  " + "  ".join(f"{key} {value:.3f}" for key, value in means.items()))
    print(f"retrieval@1 of German after: {retrieval_at_1(model, tokenizer, unseen, layer):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:2])

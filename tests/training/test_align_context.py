"""Pairs inside the task's prompt: their states are those that the task reads, however they are laid out."""

import json
import shutil

import pytest
import torch
from datasets import Dataset
from pairs_help import as_pairs

import run_midalign
from midalign.alignment.losses import alignment_loss
from midalign.config import MidAlignConfig
from midalign.data.batches import collate_pairs
from midalign.data.checks import Sieve
from midalign.data.given import as_rows
from midalign.data.packing import pack_behind_prefix
from midalign.data.pair_rows import pair_rows
from midalign.data.tokens import prompt_ids
from midalign.errors import InputError
from midalign.tasks.intents import Intents
from midalign.training import exactness
from midalign.training.exactness import require_exact
from midalign.training.forward import pooled_pairs
from midalign.training.trainer import MidAlignTrainer

LAYER = 2
TEXTS = [("weck mich um neun", "wake me at nine"), ("stop", "stop it"), ("wie", "how is it"), ("a", "b")]
POOLED = {  # of the states of a sentence's own tokens, the first of them first
    "mean": lambda own: own.mean(dim=0),
    "weighted": lambda own: (
        (own * torch.arange(1.0, len(own) + 1)[:, None]).sum(dim=0) / (len(own) * (len(own) + 1) / 2)
    ),
}


@pytest.fixture(scope="module", params=["llama", "gemma3_text"])
def model(request, make_model):
    return make_model(family=request.param)


def rows_of(tokenizer, whole=False):
    pairs = [
        {"source": source, "target": target, "source_lang": "de", "target_lang": "en", "place": source}
        for source, target in TEXTS
    ]
    return pair_rows(as_pairs(pairs), tokenizer, None, Sieve(), context=(Intents(), whole)).to_list()


def states_in_prompt(model, tokenizer, text):
    """(states of a sentence's own tokens at LAYER, that of the last token of the prompt) when the task asks it."""
    ids = prompt_ids(tokenizer, Intents().prompt({"utt": text}))
    states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[LAYER][0]
    behind = len(ids) - len(prompt_ids(tokenizer, Intents().prompt({"utt": ""})))  # a byte of it is a token
    assert behind == len(text)
    start = len(tokenizer.apply_chat_template(Intents().prompt({"utt": ""}), return_dict=False)) - len("|\n")
    return states[start : start + len(text)], states[-1]


@pytest.mark.parametrize("pooling", ["mean", "weighted", "last"])
@pytest.mark.parametrize("packed", [False, True])
@torch.no_grad()
def test_what_is_pooled_is_what_the_task_reads(packed, pooling, model, tokenizer):
    rows = rows_of(tokenizer, whole=pooling == "last")
    chunks = collate_pairs(rows, 0, packed, chunk=2)["chunks"]
    sides = pooled_pairs(model, chunks, LAYER, pooling, skip_first=True)
    for side, texts in zip(sides, zip(*TEXTS, strict=True), strict=True):
        for found, text in zip(side, texts, strict=True):
            own, last = states_in_prompt(model, tokenizer, text)
            expected = last if pooling == "last" else POOLED[pooling](own)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def gradients(model, rows, packed, chunk=None):
    model.zero_grad(set_to_none=True)
    chunks = collate_pairs(rows, 0, packed, chunk)["chunks"]
    loss = alignment_loss(*pooled_pairs(model, chunks, LAYER, "mean", skip_first=False))
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("chunk", [None, 2])
def test_a_prompt_computed_once_gives_the_loss_and_every_gradient_of_one_for_each_sentence(chunk, model, tokenizer):
    rows = rows_of(tokenizer)
    plain_loss, plain = gradients(model, rows, packed=False)
    loss, found = gradients(model, rows, packed=True, chunk=chunk)
    assert loss == pytest.approx(plain_loss, abs=1e-6)
    assert found.keys() == plain.keys()
    largest = max(gradient.abs().max().item() for gradient in plain.values())
    for name in plain:
        torch.testing.assert_close(found[name], plain[name], atol=1e-6 * max(largest, 1.0), rtol=1e-4)
    computed = collate_pairs(rows, 0, packed=True)["chunks"][0]["input_ids"].numel()
    prompt = rows[0]["source_start"]
    letters = sum(len(text) for texts in TEXTS for text in texts)
    assert computed <= prompt + letters < collate_pairs(rows, 0)["chunks"][0]["input_ids"].numel() / 5


def test_the_look_at_the_start_packs_prompts_as_training_does(model, tokenizer, monkeypatch):
    packs = []

    def wrong(sentences, starts):
        packs.append(pack_behind_prefix(sentences, starts))
        packs[-1]["position_ids"] += 1 + packs[-1]["segments"]  # every sentence somewhere else
        return packs[-1]

    require_exact(model, as_rows(rows_of(tokenizer)), LAYER, 0, packed=True)
    monkeypatch.setattr(exactness, "pack_behind_prefix", wrong)
    with pytest.raises(InputError, match="packed sentences get other states"):
        require_exact(model, as_rows(rows_of(tokenizer)), LAYER, 0, packed=True)
    assert len(packs) == 1


def logs(folder, key):
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry[key] for entry in history if key in entry]


@pytest.fixture
def train(recipe, tmp_path):
    """train(name, *options) -> the folder of a run of three steps; it ends as `code` says."""
    lines = recipe().read_text().splitlines()
    text = "".join(f"{line}\n" for line in lines if not line.startswith(("max_steps", "align_eval_pairs", "score")))
    text += "lora_dropout: 0.0\nmax_steps: 3\nalign_eval_pairs: 8\nalign_pool_skip_first: true\nalign_center: true\n"

    def run(name, *options, code=0):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        assert run_midalign.main([str(path), "--output_dir", str(tmp_path / name), *options]) == code
        return tmp_path / name

    return run


def test_a_run_in_the_task_s_context_trains_and_measures_both(train):
    plain = train("plain")
    packed, padded = (train(f"pack-{on}", "--align_context", "task", "--pack_pairs", on) for on in ("true", "false"))
    for key in ("loss", "loss/align", "eval_align", "eval_retrieval_at_1", "eval_plain_retrieval_at_1"):
        assert len(logs(packed, key)) >= 2
        assert logs(packed, key) == pytest.approx(logs(padded, key), abs=1e-5)
    assert logs(packed, "loss/align")[0] != pytest.approx(logs(plain, "loss/align")[0], abs=1e-3)
    # Before the first step the model is the same, and so are the sentences alone.
    assert logs(packed, "eval_plain_retrieval_at_1")[0] == logs(plain, "eval_retrieval_at_1")[0]
    assert not logs(plain, "eval_plain_retrieval_at_1")


def test_a_run_goes_on_in_the_context_that_it_began_in_alone(train, capsys):
    steps = ["--save_strategy", "steps", "--save_steps", "1", "--eval_strategy", "no", "--eval_on_start", "false"]
    folder = train("run", "--align_context", "task", *steps)
    shutil.rmtree(folder / "checkpoint-3")
    again = ["--resume_from_checkpoint", "true", *steps]
    train("run", *again, code=2)
    assert "align_context was 'task', is 'plain'" in capsys.readouterr().err
    train("run", "--align_context", "task", *again)
    assert len(logs(folder, "loss/align")) == 3


@pytest.mark.parametrize(
    "options",
    [
        ["--align_pooling", "last", "--align_pool_skip_first", "false"],
        ["--align_schedule", "sft"],  # measured alone
        ["--task", "intents", "translation", "--task_languages", "en-US", "en-de", "--task_eval_rows", "4"],
    ],
    ids=lambda options: " ".join(options).replace("--", ""),
)
def test_variants_train_in_the_task_s_context(options, train):
    folder = train("run", "--align_context", "task", *options)
    assert len(logs(folder, "eval_plain_retrieval_at_1")) == 3


def test_a_prompt_past_the_border_of_dynamic_rope_is_not_packed(make_model, tokenizer, tmp_path):
    rows = rows_of(tokenizer)
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    model = make_model(max_position_embeddings=64, rope_parameters=rope)
    args = MidAlignConfig(
        align_context="task", align_batch_size=4, output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none"
    )
    task = Dataset.from_dict({"input_ids": [[1, 2]], "labels": [[-100, 2]]})
    trainer = MidAlignTrainer(
        model, args, train_dataset=task, pairs=rows, eval_pairs=(), processing_class=tokenizer, made_from={}
    )
    assert max(len(row["source"]) for row in rows) > 64
    assert trainer._collate_pairs.keywords["packed"] is False


def test_rows_from_python_have_no_prompt_to_stand_in(make_model, tokenizer, tmp_path):
    args = MidAlignConfig(align_context="task", output_dir=str(tmp_path), use_cpu=True)
    chat = {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]}
    pairs = [{"source": "Tag", "target": "day", "source_lang": "de", "target_lang": "en"}] * 2
    with pytest.raises(InputError, match="align_context task needs the prompt of a task"):
        MidAlignTrainer(make_model(), args, train_dataset=[chat], pairs=pairs, processing_class=tokenizer)

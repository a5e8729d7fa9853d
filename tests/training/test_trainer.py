"""The training objective: equal to stock SFT without pairs, and the same whatever the accumulation."""

import functools
import inspect
import itertools
import math

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs_help import tokenised
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer
from trl.trainer.utils import _ChunkedLogProbFunction

from midalign.alignment.hidden import decoder_of
from midalign.config import MidAlignConfig
from midalign.data import packing
from midalign.data.batches import collate_pairs
from midalign.data.packing import pack_task
from midalign.data.tokens import example_columns
from midalign.errors import InputError
from midalign.training import forward
from midalign.training.experts import balance_loss, routers_of
from midalign.training.held_out import filled_up
from midalign.training.trainer import MidAlignTrainer

COMMON = {
    "per_device_train_batch_size": 4,
    "activation_checkpointing": False,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "bf16": False,
    "seed": 3,
}
LORA = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


@pytest.fixture(scope="module")
def rows(tokenizer):
    def example(i):
        return {
            "prompt": [{"role": "user", "content": "say " + "a" * (i % 7)}],
            "completion": [{"role": "assistant", "content": "b" * (1 + i % 3)}],
        }

    return Dataset.from_dict(example_columns(tokenizer, [example(i) for i in range(48)]))


@pytest.fixture(scope="module")
def pairs(tokenizer):
    texts = [
        {
            "source": f"satz {i * i}",
            "target": f"sentence {i}",
            "source_lang": "de" if i % 2 else "tr",
            "place": f"pair {i}",
        }
        for i in range(40)
    ]
    return tokenised(texts, tokenizer)


def train(cls, model, args, rows, tokenizer, lora=False, **kwargs):
    trainer = cls(
        model=model,
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=LoraConfig(**LORA) if lora else None,
        **kwargs,
    )
    trainer.train()
    return trainer


def losses_of(trainer, key="loss"):
    return [entry[key] for entry in trainer.state.log_history if key in entry]


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_sft_schedule_is_bit_equal_to_stock_sft_over_20_steps(lora, make_model, rows, tokenizer, tmp_path):
    settings = COMMON | {"max_steps": 20, "gradient_accumulation_steps": 2, "output_dir": str(tmp_path)}
    stock = train(SFTTrainer, make_model(), SFTConfig(**settings), rows, tokenizer, lora)
    args = MidAlignConfig(align_schedule="sft", share_prefix=False, **settings)
    ours = train(MidAlignTrainer, make_model(), args, rows, tokenizer, lora)
    assert losses_of(ours) == losses_of(stock)
    for ours_p, stock_p in zip(ours.model.parameters(), stock.model.parameters(), strict=True):
        assert torch.equal(ours_p, stock_p)


EXPERTS = {"num_experts_per_tok": 2, "router_aux_loss_coef": 0.3}
FAMILIES_WITH_EXPERTS = {
    "qwen3_moe": EXPERTS | {"num_experts": 4, "moe_intermediate_size": 32},
    "mixtral": EXPERTS | {"num_local_experts": 4},
    "olmoe": EXPERTS | {"num_experts": 4},
    "granitemoe": EXPERTS | {"num_local_experts": 4},
}


@pytest.fixture(scope="module", params=FAMILIES_WITH_EXPERTS)
def make_any_mixture(request, make_model):
    return functools.partial(make_model, family=request.param, **FAMILIES_WITH_EXPERTS[request.param])


@pytest.fixture(scope="module")
def make_mixture(make_model):
    return functools.partial(make_model, family="qwen3_moe", **FAMILIES_WITH_EXPERTS["qwen3_moe"])


def test_experts_are_balanced_to_the_bit_as_by_stock_sft(make_mixture, rows, tokenizer, tmp_path):
    settings = COMMON | {"max_steps": 3, "gradient_accumulation_steps": 2, "output_dir": str(tmp_path)}
    stock = train(SFTTrainer, make_mixture(), SFTConfig(**settings), rows, tokenizer)
    args = MidAlignConfig(align_schedule="sft", share_prefix=False, **settings)
    ours = train(MidAlignTrainer, make_mixture(), args, rows, tokenizer)
    assert losses_of(ours) == losses_of(stock)
    assert losses_of(ours, "aux_loss") == pytest.approx(losses_of(stock, "aux_loss"), rel=1e-6)
    for ours_p, stock_p in zip(ours.model.parameters(), stock.model.parameters(), strict=True):
        assert torch.equal(ours_p, stock_p)


def test_experts_are_balanced_as_by_the_model_itself(make_any_mixture):
    model, ids = make_any_mixture(), torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with routers_of(decoder_of(model)) as routers:
        model(ids, attention_mask=mask)
    expected = model(ids, attention_mask=mask, output_router_logits=True).aux_loss
    assert balance_loss(routers[0], model.config, mask).item() == expected.item()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_halves_balance_experts_as_padded_ones(
    checkpointing, make_any_mixture, rows, pairs, tokenizer, tmp_path
):
    found = []
    for packed in (False, True):
        settings = COMMON | {"gradient_checkpointing": checkpointing, "output_dir": str(tmp_path)}
        args = MidAlignConfig(
            share_prefix=packed, pack_pairs=packed, align_batch_size=8, gradient_accumulation_steps=2, **settings
        )
        trainer = train(Gradients, make_any_mixture(), args, rows, tokenizer, pairs=pairs)
        found.append((trainer.first, trainer._tr_loss.item()))
    assert found[1][1] == pytest.approx(found[0][1], abs=1e-5)
    assert_equal_gradients(found[1][0], found[0][0])
    assert any("gate" in name or "router" in name for name in found[0][0])


@pytest.mark.parametrize("packed", [False, True])
def test_a_pair_half_balances_no_experts(packed, make_mixture, rows, pairs, tokenizer, tmp_path):
    with_loss, without = (
        first_gradients(make_mixture, rows, tokenizer, tmp_path, pairs, align_schedule="align_only",
                        pack_pairs=packed, align_batch_size=8, router_aux_loss_coef=weight)
        for weight in (None, 0.0)
    )  # fmt: skip
    assert with_loss.keys() == without.keys() and all(torch.equal(with_loss[name], without[name]) for name in without)


def test_held_out_task_loss_leaves_the_balance_of_experts_to_the_sum(make_mixture, rows, pairs, tokenizer, tmp_path):
    found = {}
    for shared, weight in ((False, 0.0), (False, 0.3), (True, 0.3)):
        args = MidAlignConfig(share_prefix=shared, router_aux_loss_coef=weight, align_batch_size=4,
                              per_device_eval_batch_size=5, output_dir=str(tmp_path), **COMMON)  # fmt: skip
        trainer = MidAlignTrainer(
            make_mixture(), args, train_dataset=rows, eval_dataset=rows.select(range(10)), processing_class=tokenizer,
            pairs=pairs[10:], eval_pairs=pairs[:10],
        )  # fmt: skip
        found[shared, weight] = trainer.evaluate()
    plain = found.pop((False, 0.0))
    for metrics in found.values():
        assert metrics["eval_task"] == pytest.approx(plain["eval_task"], abs=1e-5)
        assert metrics["eval_aux_loss"] == pytest.approx(2, rel=0.2)  # two experts a token, nearly in turn
        assert metrics["eval_loss"] == pytest.approx(plain["eval_loss"] + 0.3 * metrics["eval_aux_loss"], abs=1e-5)
    assert len({round(metrics["eval_aux_loss"], 5) for metrics in found.values()}) == 1


def test_several_passes_are_refused_where_experts_are_balanced(make_mixture, rows, tokenizer, tmp_path):
    def trainer(**changes):
        args = MidAlignConfig(
            align_schedule="sft", task_tokens_per_batch=500, output_dir=str(tmp_path), **COMMON | changes
        )
        return MidAlignTrainer(make_mixture(), args, train_dataset=rows, processing_class=tokenizer)

    with pytest.raises(InputError, match="the loss that balances experts is one of all tokens of a micro-batch"):
        trainer()
    trainer(router_aux_loss_coef=0.0)


def test_a_weight_for_routers_that_say_nothing_is_refused(make_model):
    with pytest.raises(InputError, match="llama does not tell what its routers say; delete it"):
        balance_loss(None, make_model().config, torch.ones(1, 2))


def test_joint_reads_the_task_rows_of_stock_sft_in_the_same_order(make_model, rows, pairs, tokenizer, tmp_path):
    settings = COMMON | {"num_train_epochs": 2, "output_dir": str(tmp_path)}
    seen = {}
    for name, cls, config, extra in (
        ("stock", SFTTrainer, SFTConfig, {}),
        (
            "joint",
            MidAlignTrainer,
            functools.partial(MidAlignConfig, share_prefix=False, try_on_start=False),
            {"pairs": pairs},
        ),
    ):
        batches = seen[name] = []

        class Spy(cls):
            def training_step(self, model, inputs, *args, batches=batches):
                batches.append(inputs["input_ids"].tolist())
                return super().training_step(model, inputs, *args)

        train(Spy, make_model(), config(**settings), rows, tokenizer, **extra)
    assert seen["joint"] == seen["stock"]


class Gradients(MidAlignTrainer):
    """Keeps the first optimizer step's gradients."""

    def _clip_grad_norm(self, model):
        self.first = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        self.control.should_training_stop = True
        return torch.zeros(())


def first_gradients(make_model, rows, tokenizer, tmp_path, pairs=(), **changes):
    args = MidAlignConfig(**(COMMON | {"max_steps": 4, "output_dir": str(tmp_path)} | changes))
    return train(Gradients, make_model(), args, rows, tokenizer, pairs=pairs).first


def assert_equal_gradients(one, other, scale=1.0):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], scale * other[name], atol=1e-6, rtol=1e-5)


def test_task_gradient_of_1_x_8_equals_4_x_2(make_model, rows, tokenizer, tmp_path):
    one = first_gradients(make_model, rows, tokenizer, tmp_path, align_schedule="sft",
                          per_device_train_batch_size=8, gradient_accumulation_steps=1)  # fmt: skip
    four = first_gradients(make_model, rows, tokenizer, tmp_path, align_schedule="sft",
                           per_device_train_batch_size=2, gradient_accumulation_steps=4)  # fmt: skip
    assert_equal_gradients(four, one)


@pytest.mark.parametrize("schedule", ["joint", "alternate", "align_only"])
def test_pair_gradient_does_not_depend_on_accumulation(schedule, make_model, rows, pairs, tokenizer, tmp_path):
    # Negatives come from a micro-batch, so the same negatives means the same micro-batches: one batch of four
    # pairs, seen once or four times in a window, has the same mean gradient.
    same = pairs[:4]
    step = {"align_batch_size": 4, "align_schedule": schedule, "align_weight": 0.7}
    one = first_gradients(make_model, rows, tokenizer, tmp_path, same,
                          per_device_train_batch_size=8, gradient_accumulation_steps=1, **step)  # fmt: skip
    four = first_gradients(make_model, rows, tokenizer, tmp_path, same,
                           per_device_train_batch_size=2, gradient_accumulation_steps=4, **step)  # fmt: skip
    assert_equal_gradients(four, one)


def test_joint_gradient_is_task_gradient_plus_weight_times_align_gradient(make_model, rows, pairs, tokenizer, tmp_path):
    common = {"align_batch_size": 8, "gradient_accumulation_steps": 2}
    task = first_gradients(make_model, rows, tokenizer, tmp_path, align_schedule="sft", **common)
    align = first_gradients(make_model, rows, tokenizer, tmp_path, pairs, align_schedule="align_only", **common)
    joint = first_gradients(make_model, rows, tokenizer, tmp_path, pairs, align_weight=0.5, **common)
    for name in joint:
        expected = task[name] + 0.5 * align.get(name, torch.zeros(()))
        torch.testing.assert_close(joint[name], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_shared_prefix_changes_neither_loss_nor_gradient(
    family, attention, lora, make_model, rows, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setitem(LORA, "lora_dropout", 0.0)
    found = {}
    for shared in (False, True):
        args = MidAlignConfig(
            align_schedule="sft", share_prefix=shared, gradient_accumulation_steps=2, output_dir=str(tmp_path), **COMMON
        )
        model = make_model(family=family, attn_implementation=attention)
        trainer = train(Gradients, model, args, rows, tokenizer, lora)
        found[shared] = trainer.first, trainer._tr_loss.item()
    assert found[True][1] == pytest.approx(found[False][1], abs=1e-5)
    assert_equal_gradients(found[True][0], found[False][0])


def test_the_head_scores_what_has_a_label_and_no_other_token(make_model, rows, tokenizer, tmp_path, monkeypatch):
    scored = []

    def count(hidden, *args):
        scored.append(hidden.size(-2))
        return head(hidden, *args)

    head = _ChunkedLogProbFunction.apply
    monkeypatch.setattr(_ChunkedLogProbFunction, "apply", count)
    settings = COMMON | {"max_steps": 1, "try_on_start": False}
    args = MidAlignConfig(align_schedule="sft", output_dir=str(tmp_path), **settings)
    trainer = train(MidAlignTrainer, make_model(), args, rows, tokenizer, lora=True)
    batch = next(iter(trainer.get_train_dataloader()))
    assert scored == [(batch["labels"] != -100).sum()] and scored[0] < batch["labels"].numel() / 2


def test_a_packed_batch_without_a_label_has_no_loss_and_a_gradient_of_zeros(make_model, rows, tokenizer, tmp_path):
    nothing = [{"input_ids": row["input_ids"], "labels": [-100] * len(row["labels"])} for row in rows.select(range(3))]
    args = MidAlignConfig(align_schedule="sft", output_dir=str(tmp_path), **COMMON)
    trainer = MidAlignTrainer(make_model().train(), args, train_dataset=rows, processing_class=tokenizer)
    loss = trainer.compute_loss(trainer.model, pack_task(nothing))
    loss.backward()
    assert loss == 0 and not any(p.grad.any() for p in trainer.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "pooling", [{}, {"align_pooling": "last"}, {"align_pool_skip_first": True, "align_center": True}]
)
def test_packed_pairs_change_neither_loss_nor_gradient(
    family, attention, pooling, make_model, rows, pairs, tokenizer, tmp_path
):
    found = {}
    for packed, chunk in ((False, None), (True, None), (True, 3), (False, 8)):
        args = MidAlignConfig(
            align_schedule="align_only", pack_pairs=packed, align_chunk_size=chunk, align_batch_size=8,
            output_dir=str(tmp_path), **COMMON, **pooling,
        )  # fmt: skip
        model = make_model(family=family, attn_implementation=attention)
        trainer = train(Gradients, model, args, rows, tokenizer, pairs=pairs)
        found[packed, chunk] = trainer.first, trainer._tr_loss.item()
    plain, loss = found.pop((False, None))
    for gradients, other in found.values():
        assert other == pytest.approx(loss, abs=1e-5)
        assert gradients.keys() == plain.keys()
        for name in plain:  # centred cosines are ill-conditioned: equal to 1e-5 of the largest entry
            largest = plain[name].abs().max().item()
            torch.testing.assert_close(gradients[name], plain[name], atol=1e-5 * largest, rtol=1e-4)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_packed_halves_equal_padded_ones_with_gradient_checkpointing(
    lora, make_model, rows, pairs, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setitem(LORA, "lora_dropout", 0.0)
    found = []
    for packed in (False, True):
        settings = COMMON | {"activation_checkpointing": True, "output_dir": str(tmp_path)}
        args = MidAlignConfig(share_prefix=packed, pack_pairs=packed, align_batch_size=8, **settings)
        found.append(train(Gradients, make_model(), args, rows, tokenizer, lora, pairs=pairs).first)
    assert_equal_gradients(*found)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_halves_equal_padded_ones_to_the_precision_of_bf16(
    attention, make_model, rows, pairs, tokenizer, tmp_path
):
    found = []
    for packed in (False, True):
        settings = COMMON | {"bf16": True, "output_dir": str(tmp_path)}
        args = MidAlignConfig(share_prefix=packed, pack_pairs=packed, align_batch_size=8, **settings)
        model = make_model(attn_implementation=attention)
        found.append(train(Gradients, model, args, rows, tokenizer, pairs=pairs).first)
    plain, own = (torch.cat([gradient.flatten() for gradient in one.values()]) for one in found)
    assert (own - plain).norm() / plain.norm() < 0.02  # bf16 keeps 8 bits: 0.4 % a number


IDS = st.lists(st.integers(4, 250), min_size=1, max_size=9)


PACKED = {
    "llama": {},
    "qwen2": {},
    "gemma3_text": {"sliding_window": 5},  # shorter than rows and sentences are
}


@pytest.fixture(scope="module", params=itertools.product(PACKED, ["sdpa", "eager"]))
def packing_trainer(request, make_model, rows, pairs, tokenizer, tmp_path_factory):
    family, attention = request.param
    args = MidAlignConfig(share_prefix=True, output_dir=str(tmp_path_factory.mktemp("out")), **COMMON)
    model = make_model(family=family, attn_implementation=attention, initializer_range=0.1, **PACKED[family])
    return MidAlignTrainer(model, args, train_dataset=rows, pairs=pairs, processing_class=tokenizer)


@settings(max_examples=15)
@given(
    prefixes=st.lists(st.lists(st.integers(4, 250), max_size=12), min_size=1, max_size=2),
    own=st.lists(st.tuples(st.integers(0, 1), IDS, IDS), min_size=1, max_size=6),
    sentences=st.lists(st.tuples(IDS, IDS), min_size=2, max_size=6),
    hidden_size=st.sampled_from([None, 1]),
)
def test_packed_halves_of_random_lengths_equal_the_padded_ones(packing_trainer, prefixes, own, sentences, hidden_size):
    trainer = packing_trainer
    prompts = [[*prefixes[which % len(prefixes)], *prompt] for which, prompt, _ in own]
    task = [
        {"input_ids": [*prompt, *answer], "labels": [-100] * len(prompt) + answer}
        for prompt, (_, _, answer) in zip(prompts, own, strict=True)
    ]
    padded = trainer.data_collator.keywords["pad"](task)
    own_pairs = [
        {"source": source, "target": target, "source_text": 2 * i, "target_text": 2 * i + 1}
        for i, (source, target) in enumerate(sentences)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "LEAST", 16)
        packed = pack_task(task, hidden_size)  # in one sequence, or in several
    loss, gradients = step_of(trainer, {**packed, "pairs": collate_pairs(own_pairs, 0, packed=True)})
    plain_loss, plain = step_of(trainer, {**padded, "pairs": collate_pairs(own_pairs, 0)})
    assert loss == pytest.approx(plain_loss, abs=1e-4)
    largest = max(gradient.abs().max().item() for gradient in plain.values())
    for name in plain:
        torch.testing.assert_close(gradients[name], plain[name], atol=1e-5 * max(largest, 1.0), rtol=1e-4)


def step_of(trainer, batch):
    """(loss, gradients) of one micro-batch."""
    _, items = trainer.get_batch_samples(iter([batch]), 1, torch.device("cpu"))
    trainer.model.train().zero_grad()
    loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=items)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in trainer.model.named_parameters()}


def test_chunks_computed_twice_give_the_gradient_of_chunks_kept_with_the_same_dropout(
    make_model, rows, pairs, tokenizer, tmp_path, monkeypatch
):
    found = []
    for kept in (False, True):
        if kept:
            monkeypatch.setattr(forward, "checkpoint", lambda f, *arguments, **_: f(*arguments))
        args = MidAlignConfig(align_schedule="align_only", align_chunk_size=3, align_batch_size=8,
                              output_dir=str(tmp_path), **COMMON)  # fmt: skip
        found.append(train(Gradients, make_model(), args, rows, tokenizer, True, pairs=pairs).first)
    assert_equal_gradients(*found)


@pytest.mark.parametrize("shared", [False, True], ids=["padded", "packed"])
def test_a_task_half_in_several_passes_has_the_gradient_of_one(
    shared, make_model, rows, pairs, tokenizer, tmp_path, monkeypatch
):
    passes = []
    forward = MidAlignTrainer.compute_loss

    def count(self, model, inputs, **kwargs):
        passes.append(inputs["input_ids"].numel())
        return forward(self, model, inputs, **kwargs)

    monkeypatch.setattr(MidAlignTrainer, "compute_loss", count)
    limit = 2 * max(map(len, rows["input_ids"]))
    found = []
    for tokens in (None, limit):
        passes.clear()
        found.append(
            first_gradients(make_model, rows, tokenizer, tmp_path, pairs, per_device_train_batch_size=8,
                            gradient_accumulation_steps=2, share_prefix=shared, task_tokens_per_batch=tokens)
        )  # fmt: skip
    assert len(passes) >= 4
    assert max(passes) <= limit
    assert_equal_gradients(*found)

    # Another process needs two passes more: ours that teach nothing are there, and nowhere to be seen.
    def beside_another(self, *arguments, own=MidAlignTrainer.get_batch_samples):
        batches, tokens = own(self, *arguments)
        with monkeypatch.context() as patch:
            patch.setattr(self.accelerator, "gather", lambda number: torch.cat([number, number + 2]))
            self._level(batches)
        return batches, tokens

    monkeypatch.setattr(MidAlignTrainer, "get_batch_samples", beside_another)
    before = len(passes)
    passes.clear()
    settings = {"gradient_accumulation_steps": 2, "share_prefix": shared, "task_tokens_per_batch": limit}
    levelled = first_gradients(make_model, rows, tokenizer, tmp_path, pairs, per_device_train_batch_size=8, **settings)
    assert len(passes) == before + 2 * 2  # two micro-batches
    assert_equal_gradients(found[0], levelled)


def test_tokens_in_several_sequences_are_all_counted_and_what_fills_them_up_is_not(
    make_model, rows, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setattr(packing, "LEAST", 16)
    args = MidAlignConfig(align_schedule="sft", max_steps=1, output_dir=str(tmp_path),
                          **COMMON | {"per_device_train_batch_size": 16})  # fmt: skip
    trainer = MidAlignTrainer(make_model(), args, train_dataset=rows, processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    assert 1 < len(batch["input_ids"]) < 16
    trainer.train()
    counted = (batch["copies"] > 0).sum().item()
    assert trainer.state.log_history[0]["num_tokens"] == counted < batch["input_ids"].numel()


def test_a_task_tokens_per_batch_below_one_row_is_refused(make_model, rows, tokenizer, tmp_path):
    args = MidAlignConfig(align_schedule="sft", task_tokens_per_batch=3, output_dir=str(tmp_path), **COMMON)
    with pytest.raises(InputError, match="task_tokens_per_batch is 3, but a row has"):
        MidAlignTrainer(make_model(), args, train_dataset=rows, processing_class=tokenizer)


@pytest.mark.parametrize("shared", [False, True], ids=["padded", "packed"])
def test_a_row_that_fills_a_batch_of_several_processes_changes_no_evaluated_loss(
    shared, make_model, rows, tokenizer, tmp_path
):
    args = MidAlignConfig(align_schedule="sft", share_prefix=shared, per_device_eval_batch_size=4,
                          output_dir=str(tmp_path), **COMMON)  # fmt: skip
    held_out = rows.select(range(5))
    trainer = MidAlignTrainer(make_model(), args, train_dataset=rows, eval_dataset=held_out, processing_class=tokenizer)
    plain, filled = (trainer.evaluate(some)["eval_task"] for some in (held_out, filled_up(held_out, 16)))
    assert filled == pytest.approx(plain, abs=1e-6)


def test_evaluation_with_a_shared_prefix_gives_the_losses_of_padded_rows(make_model, rows, tokenizer, tmp_path):
    found = []
    for shared in (False, True):
        args = MidAlignConfig(align_schedule="sft", share_prefix=shared, per_device_eval_batch_size=5,
                              output_dir=str(tmp_path), **COMMON)  # fmt: skip
        trainer = MidAlignTrainer(
            make_model(), args, train_dataset=rows, eval_dataset=rows.select(range(12)), processing_class=tokenizer
        )
        found.append(trainer.evaluate())
    for key in ("eval_task", "eval_loss"):
        assert found[1][key] == pytest.approx(found[0][key], abs=1e-5)


def test_our_part_of_a_step_never_waits_for_the_device(make_model, rows, pairs, tokenizer, tmp_path, monkeypatch):
    # On a GPU each of these calls waits until all queued work is done. TRL's own loss and metrics do it; ours must not.
    stock = SFTTrainer.compute_loss
    inside, waits = [], []

    def allowed(*args, **kwargs):
        inside.append(True)
        try:
            return stock(*args, **kwargs)
        finally:
            inside.pop()

    def watch(name):
        original = getattr(torch.Tensor, name)

        def call(tensor, *args):
            if not inside and any("compute_loss" in frame.function for frame in inspect.stack()):
                waits.append(name)
            return original(tensor, *args)

        monkeypatch.setattr(torch.Tensor, name, call)

    monkeypatch.setattr(SFTTrainer, "compute_loss", allowed)
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "cpu", "nonzero"):
        watch(name)
    first_gradients(make_model, rows, tokenizer, tmp_path, pairs, share_prefix=True, align_center=True)
    assert waits == []


def test_flex_attention_is_refused_where_it_has_no_gradient(make_model, rows, tokenizer, tmp_path):
    args = MidAlignConfig(align_schedule="sft", output_dir=str(tmp_path), **COMMON)
    with pytest.raises(InputError, match="attn_implementation flex_attention is not possible: torch has no backward"):
        MidAlignTrainer(make_model(attn_implementation="flex_attention"), args, train_dataset=rows,
                        processing_class=tokenizer)  # fmt: skip


DYNAMIC_ROPE = {
    "max_position_embeddings": 16,
    "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share_prefix": True}, "share_prefix is not possible: positions past 16 tokens depend on the longest row"),
        ({"pack_pairs": True, "align_schedule": "joint"}, "pack_pairs is not possible: positions past 16 tokens"),
        ({"task_tokens_per_batch": 500}, "task_tokens_per_batch is not possible: positions past 16 tokens"),
        ({"align_chunk_size": 2, "align_schedule": "joint"}, "align_chunk_size is not possible: positions past 16"),
    ],
)
def test_what_needs_positions_of_a_row_alone_is_refused_past_the_border_of_dynamic_rope(
    changes, message, make_model, rows, pairs, tokenizer, tmp_path
):
    args = MidAlignConfig(**{"align_schedule": "sft", "output_dir": str(tmp_path)} | COMMON | changes)
    long = [pair | {"source": pair["source"] * 3} for pair in pairs]
    with pytest.raises(InputError, match=message):
        MidAlignTrainer(make_model(**DYNAMIC_ROPE), args, train_dataset=rows, pairs=long, processing_class=tokenizer)


def test_without_a_wish_packing_is_off_past_the_border_and_said_so(
    make_model, rows, pairs, tokenizer, tmp_path, caplog
):
    args = MidAlignConfig(output_dir=str(tmp_path), **COMMON)
    with caplog.at_level("INFO"):
        trainer = MidAlignTrainer(
            make_model(**DYNAMIC_ROPE), args, train_dataset=rows, pairs=pairs, processing_class=tokenizer
        )
    assert trainer.share_prefix is False
    assert "share_prefix is off: positions past 16 tokens depend on the longest row of a pass" in caplog.text
    assert "pack_pairs is on" in caplog.text  # sentences of up to 12 tokens


def test_align_step_gives_no_gradient_above_align_layer(make_model, rows, pairs, tokenizer, tmp_path):
    gradients = first_gradients(
        make_model, rows, tokenizer, tmp_path, pairs, align_schedule="align_only", align_layer=2
    )
    above = [
        name for name in gradients if not name.startswith(("model.embed_tokens", "model.layers.0.", "model.layers.1."))
    ]
    assert above == [
        name for name in gradients if name.startswith(("model.layers.2.", "model.layers.3.", "model.norm", "lm_head"))
    ]
    assert all(gradients[name].abs().max() == 0 for name in above)
    assert all(gradients[name].abs().max() > 0 for name in gradients.keys() - set(above))


def test_momentum_goes_on_through_an_alignment_step_as_on_engines_with_one_flat_gradient(
    make_model, rows, pairs, tokenizer, tmp_path
):
    # AdamW's first moment after a gradient of zero is 0.9 of what it was.
    weights = []
    for steps in (1, 2):
        args = MidAlignConfig(
            align_schedule="alternate",
            max_steps=steps,
            lr_scheduler_type="constant",
            output_dir=str(tmp_path),
            **COMMON,
        )
        trainer = train(MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs)
        head = trainer.model.lm_head.weight
        weights.append((head.detach(), trainer.optimizer.state[head]["exp_avg"]))
    torch.testing.assert_close(weights[1][1], 0.9 * weights[0][1])
    assert not torch.equal(weights[0][0], weights[1][0])


def test_align_every_2_weighs_the_one_pair_half_of_a_window_like_two(make_model, rows, pairs, tokenizer, tmp_path):
    same = pairs[:4]
    common = {"align_batch_size": 4, "gradient_accumulation_steps": 2}
    every = first_gradients(make_model, rows, tokenizer, tmp_path, same, align_every=1, **common)
    second = first_gradients(make_model, rows, tokenizer, tmp_path, same, align_every=2, **common)
    assert_equal_gradients(second, every)


def test_alternate_takes_turns_task_first(make_model, rows, pairs, tokenizer, tmp_path):
    args = MidAlignConfig(
        align_schedule="alternate", max_steps=4, gradient_accumulation_steps=2, output_dir=str(tmp_path), **COMMON
    )
    trainer = train(MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs)
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert ["task" if "loss/task" in step else "align" for step in steps] == ["task", "align"] * 2
    assert all(("loss/task" in step) != ("loss/align" in step) for step in steps)


def test_loss_parts_add_up_to_the_logged_loss(make_model, rows, pairs, tokenizer, tmp_path):
    args = MidAlignConfig(
        max_steps=3, gradient_accumulation_steps=2, align_weight=0.25, output_dir=str(tmp_path), **COMMON
    )
    trainer = train(MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs)
    for step in trainer.state.log_history[:3]:
        assert step["loss"] == pytest.approx(step["loss/task"] + 0.25 * step["loss/align"], abs=1e-5)


def test_align_learning_rate_scales_only_the_alignment_steps(make_model, rows, pairs, tokenizer, tmp_path):
    # One SGD step moves a weight by learning rate x gradient: twice the rate, twice the way.
    moved = {}
    for rate in (1e-2, 2e-2):
        weights = []
        for steps in (1, 2):  # the task step alone, then with the alignment step
            args = MidAlignConfig(
                align_schedule="alternate", align_learning_rate=rate, max_steps=steps, optim="sgd",
                max_grad_norm=0.0, lr_scheduler_type="constant", output_dir=str(tmp_path), **COMMON,
            )  # fmt: skip
            trainer = train(MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs)
            weights.append(trainer.model.model.layers[0].mlp.up_proj.weight.detach())
        moved[rate] = weights[1] - weights[0]
    assert moved[1e-2].abs().max() > 0
    torch.testing.assert_close(moved[2e-2], 2 * moved[1e-2], atol=1e-7, rtol=1e-3)


def test_the_log_has_the_learning_rate_that_each_step_was_taken_with(make_model, rows, pairs, tokenizer, tmp_path):
    args = MidAlignConfig(
        align_schedule="alternate", align_learning_rate=1e-3, max_steps=4, lr_scheduler_type="linear",
        output_dir=str(tmp_path), **COMMON,
    )  # fmt: skip
    trainer = train(MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs)
    assert losses_of(trainer, "learning_rate") == pytest.approx([1e-2, 0.75e-3, 0.5e-2, 0.25e-3])


def test_resume_gives_the_weights_of_the_undisturbed_run(make_model, rows, pairs, tokenizer, tmp_path):
    for schedule in ("joint", "alternate"):
        settings = COMMON | {
            "align_schedule": schedule, "num_train_epochs": 2, "gradient_accumulation_steps": 5, "align_every": 1,
            "align_batch_size": 8, "save_strategy": "steps", "save_steps": 1, "output_dir": str(tmp_path / schedule),
        }  # fmt: skip
        whole = train(MidAlignTrainer, make_model(), MidAlignConfig(**settings), rows, tokenizer, True, pairs=pairs)
        resumed = MidAlignTrainer(
            model=make_model(), args=MidAlignConfig(**settings), train_dataset=rows, processing_class=tokenizer,
            peft_config=LoraConfig(**LORA), pairs=pairs,
        )  # fmt: skip
        resumed.train(resume_from_checkpoint=str(tmp_path / schedule / "checkpoint-4"))
        for one, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
            assert torch.equal(one, other)


def test_evaluation_reports_both_losses_and_retrieval_per_language(make_model, rows, pairs, tokenizer, tmp_path):
    args = MidAlignConfig(
        max_steps=2, eval_strategy="steps", eval_steps=1, align_weight=2.0, align_batch_size=4,
        output_dir=str(tmp_path), **COMMON,
    )  # fmt: skip
    trainer = train(
        MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs[10:], eval_pairs=pairs[:10],
        eval_dataset=rows.select(range(7)),
    )  # fmt: skip
    last = [entry for entry in trainer.state.log_history if "eval_loss" in entry][-1]
    assert last["eval_loss"] == pytest.approx(last["eval_task"] + 2.0 * last["eval_align"])
    per_language = [last["eval_retrieval_at_1_de"], last["eval_retrieval_at_1_tr"]]
    assert last["eval_retrieval_at_1"] == pytest.approx(sum(per_language) / 2)


def test_evaluated_task_loss_does_not_depend_on_the_batch_size(make_model, rows, tokenizer, tmp_path):
    losses = []
    for size in (1, 7):
        args = MidAlignConfig(align_schedule="sft", per_device_eval_batch_size=size, output_dir=str(tmp_path), **COMMON)
        trainer = MidAlignTrainer(
            model=make_model(), args=args, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer
        )
        losses.append(trainer.evaluate()["eval_task"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_bos_pooling_is_refused_where_every_sentence_starts_alike(make_model, rows, pairs, tokenizer, tmp_path):
    alike = [pair | {"source": [1, *pair["source"]], "target": [1, *pair["target"]]} for pair in pairs]
    args = MidAlignConfig(align_pooling="bos", output_dir=str(tmp_path), **COMMON)
    with pytest.raises(InputError, match="bos"):
        MidAlignTrainer(model=make_model(), args=args, train_dataset=rows, processing_class=tokenizer, pairs=alike)


def test_flat_logits_give_a_hint_and_sharp_ones_do_not(make_model, rows, pairs, tokenizer, tmp_path, caplog):
    for temperature, hinted in ((1e6, True), (1e-3, False)):
        caplog.clear()
        args = MidAlignConfig(max_steps=1, align_temperature=temperature, output_dir=str(tmp_path), **COMMON)
        trainer = train(MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs)
        assert ("align_center" in caplog.text) == hinted
        if hinted:
            assert losses_of(trainer, "loss/align")[0] == pytest.approx(math.log(32), abs=1e-3)


@pytest.mark.parametrize("beside", [{"align_pool_skip_first": True}, {"align_pooling": "last"}])
def test_the_hint_names_no_key_that_is_on_already(beside, make_model, rows, pairs, tokenizer, tmp_path, caplog):
    on = {"align_center": True, **beside}
    args = MidAlignConfig(max_steps=1, align_temperature=1e6, output_dir=str(tmp_path), **COMMON | on)
    train(MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs)
    assert "align_center" not in caplog.text and "Try a lower align_temperature." in caplog.text


def test_the_hint_names_no_key_that_the_pooling_refuses(make_model, rows, pairs, tokenizer, tmp_path, caplog):
    last = {"align_pooling": "last", "align_temperature": 1e6, "max_steps": 1}
    args = MidAlignConfig(output_dir=str(tmp_path), **COMMON | last)
    train(MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs)
    assert "Try align_center: true or a lower align_temperature." in caplog.text


@pytest.mark.parametrize("schedule", ["joint", "alternate"])
def test_reentrant_checkpointing_changes_no_gradient_in_one_process(
    schedule, make_model, rows, pairs, tokenizer, tmp_path
):
    def after(**checkpointing):
        args = MidAlignConfig(align_schedule=schedule, max_steps=2, output_dir=str(tmp_path), **COMMON | checkpointing)
        trainer = train(MidAlignTrainer, make_model(), args, rows, tokenizer, pairs=pairs)
        return dict(trainer.model.named_parameters())

    plain = after()
    reentrant = after(activation_checkpointing=True, activation_checkpointing_kwargs={"use_reentrant": True})
    for name, weight in plain.items():
        torch.testing.assert_close(reentrant[name], weight, msg=name)

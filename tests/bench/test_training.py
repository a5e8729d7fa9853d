"""The benchmark runs on any recipe, and what it compares computes the same."""

import io
import re
import sys

import pytest
import torch
from rich.console import Console
from rich.progress import Progress
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from midalign import cli
from midalign.bench.tables import axes_of, bench_recipe
from midalign.bench.training import Bench
from midalign.errors import InputError


@pytest.fixture
def bench(recipe):
    return Bench([str(recipe("align_schedule: joint\n"))])


def test_ours_and_trl_compute_the_same_gradient_on_the_same_rows(bench):
    assert bench.gradient_difference() < 1e-5


@pytest.mark.parametrize("context", ["plain", "task"])
def test_ours_naive_and_bare_run_the_same_pairs(context, recipe):
    bench = Bench([str(recipe(f"align_schedule: joint\nalign_context: {context}\n"))])
    ours, naive, bare = (bench.pair_half(who) for who in ("ours", "naive", "bare"))
    assert ours.rows == naive.rows == bare.rows == 4
    assert ours.tokens == naive.tokens == bare.tokens
    assert ours.computed == bare.computed <= naive.computed
    torch.testing.assert_close(ours.step(), naive.step())  # the demo pairs of a batch hold no false negatives


def test_a_loss_over_groups_of_translations_is_the_same_for_ours_and_naive(recipe):
    bench = Bench([str(recipe("align_schedule: joint\nalign_loss: multiway\n"))])
    ours, naive = (bench.pair_half(who) for who in ("ours", "naive"))
    torch.testing.assert_close(ours.step(), naive.step())


def test_several_layers_are_refused(recipe):
    with pytest.raises(InputError, match=r"bench measures one layer, found align_layer \[1.0, 2.0\]; name one of them"):
        Bench([str(recipe()), "--align_layer", "1", "2"])


def test_the_bare_layers_leave_the_model_whole(bench):
    decoder = bench.decoder
    layers = decoder.layers
    bench.pair_half("bare").step().backward()
    assert decoder.layers is layers and decoder.config.num_hidden_layers == len(layers)


def test_a_larger_vocabulary_is_taken_back(bench):
    own = bench.decoder.embed_tokens.num_embeddings
    with bench.vocabulary(own + 100):
        assert bench.decoder.embed_tokens.num_embeddings == own + 100
    assert bench.decoder.embed_tokens.num_embeddings == own


def test_the_breakdown_takes_turns_and_medians_without_the_first_turn(bench, monkeypatch):
    seconds, order = {"plain": iter([99.0, 4.0, 50.0, 6.0]), "ours": iter([99.0, 1.0, 2.0, 30.0])}, []

    def micro_batch(who, laps):
        order.append(who)
        laps.seconds["forward"] = next(seconds[who])

    monkeypatch.setattr(bench, "micro_batch", micro_batch)
    assert bench.breakdown(3) == {"plain": {"forward": 6.0}, "ours": {"forward": 2.0}}
    assert order == ["plain", "ours"] * 4


@pytest.mark.slow
def test_bench_of_a_recipe_prints_every_table(recipe):
    console, seen = Console(width=200, file=io.StringIO(), force_terminal=True, color_system=None), []
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        for part in bench_recipe([str(recipe()), "--align_batch_size", "3"], {"trl", "naive"}, 1, True, progress):
            seen.append((progress.tasks[0].description, progress.tasks[0].completed, progress.tasks[0].total))
            console.print(part)
    out = console.file.getvalue()
    # Six candidates, two gradients, two whole micro-batches, and two for each of 2 + 2 + 2 + 3 + 3 values; two turns.
    assert seen[0] == ("timing task/sft", 5, 2 * (6 + 2 + 2 * 12) + 2) and seen[1] == ("timing pairs/bare", 11, 66)
    assert progress.tasks[0].completed == 65  # the last begins
    for name in ("trl.SFTTrainer", "output_hidden_states", "the bare layers", "task: backward", "grows: vocabulary"):
        assert name in out
    assert float(re.search(r"gradients of ours and TRL's: (\S+),", out)[1]) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "vllm"], "--against vllm: use trl, naive, trl,naive or lm_eval"),
        (["--align_schedule", "sft"], "found align_schedule sft; add --align_schedule joint and pairs"),
        (["--no_such_key", "1"], "unknown key no_such_key"),
    ],
)
def test_what_cannot_be_measured_ends_in_one_sentence(options, message, recipe, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["midalign", "bench", str(recipe()), *options])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("half", ["task", "pairs"])
def test_products_have_the_precision_of_training(half, recipe):
    bench = Bench([str(recipe("align_schedule: joint\nbf16: true\n"))])
    seen = set()
    bench.decoder.layers[0].mlp.register_forward_hook(lambda *own: seen.add(own[2].dtype))
    for who in ("ours", "trl") if half == "task" else ("ours", "naive", "bare"):
        (bench.task if half == "task" else bench.pair_half)(who).step()
        assert seen == {torch.bfloat16}, who
        seen.clear()


def test_growth_is_of_numbers_of_pairs_that_are_there_and_that_the_loss_takes(recipe):
    bench = Bench([str(recipe("align_schedule: joint\nalign_loss: cka\n"))])
    bench.pairs = bench.pairs.select(range(6))
    axes = {axis: values for axis, values, *_ in axes_of(bench, ["naive"])}
    assert axes["pairs"] == [6] and "4 pairs, times the length" in axes


def test_a_decoder_without_an_early_exit_is_one_sentence_for_bench_and_preview(recipe, tmp_path, tokenizer, midalign):
    config = GPTNeoXConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "neox")
    tokenizer.save_pretrained(tmp_path / "neox")
    other = "--model_name_or_path", tmp_path / "neox", "--lora_target_modules", "all-linear"
    for verb in ("bench", "preview"):
        code, _, err = midalign(verb, recipe("align_schedule: joint\n"), *other)
        assert code == 2 and "GPTNeoXModel has no `layers` and `norm`; use a decoder built like" in err

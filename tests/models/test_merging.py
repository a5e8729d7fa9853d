"""Merging: the sum of two updates, exact whatever ranks, targets, layers and precisions; and what is refused."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
)

from midalign.errors import InputError
from midalign.models import merged, merging
from midalign.models.adapters import read_adapter, server_notes
from midalign.models.agreement import logits, sample_sentences
from midalign.models.runs import find_run, load_run_model

LAYERS = 4


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def adapter(base, tmp_path):
    """adapter(name, seed, **LoraConfig) -> the folder of an adapter with random factors, A and B both."""

    def make(name, seed=1, dtype=torch.float32, **settings):
        settings = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"], **settings}
        model = get_peft_model(LlamaForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", **settings))
        torch.manual_seed(seed)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "lora_" in key:
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
        model.to(dtype).save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


def update_of(base, folder):
    """{weight: what a PEFT adapter adds to it}, by PEFT's own merge."""
    plain = LlamaForCausalLM.from_pretrained(base)
    before = {key: value.clone() for key, value in plain.state_dict().items()}
    after = PeftModel.from_pretrained(plain, folder).merge_and_unload().state_dict()
    return {key: after[key] - before[key] for key in before if not torch.equal(after[key], before[key])}


def assert_sum(base, output, parts):
    """The update of `output` is the weighted sum of PEFT's updates of parts [(folder, weight)]."""
    wanted = {}
    for folder, weight in parts:
        for key, update in update_of(base, folder).items():
            wanted[key] = wanted.get(key, 0) + weight * update
    got = update_of(base, output)
    assert got.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(got[key], wanted[key], atol=1e-6, rtol=1e-5)


KINDS = {
    "other rank and alpha": {"r": 5, "lora_alpha": 3},
    "other targets": {"target_modules": ["down_proj", "q_proj"]},
    "lower layers only": {"layers_to_transform": [0, 1]},
    "rank and alpha by pattern": {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"layers.1.self_attn.v_proj": 7}},
    "rsLoRA": {"use_rslora": True, "r": 3},
    "the LM head": {"target_modules": ["q_proj", "lm_head"]},
    "bfloat16": {"dtype": torch.bfloat16},
}


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())
def test_the_merged_update_is_the_weighted_sum_of_both(base, adapter, tmp_path, settings):
    task, align = adapter("task"), adapter("align", 2, **settings)
    record = merged.merge(task, align, tmp_path / "out", weights=(1.0, 0.7))
    assert_sum(base, tmp_path / "out", [(task, 1.0), (align, 0.7)])
    assert record["relative_error"] < 1e-6
    assert record["logits"]["largest_gap"] < 1e-4 * record["logits"]["largest_logit"]


def test_embeddings_are_merged_too(base, adapter, tmp_path):
    task, align = adapter("task"), adapter("align", 2, target_modules=["embed_tokens", "v_proj"])
    assert any("lora_" not in key for key in load_file(align / "adapter_model.safetensors"))  # PEFT saves copies along
    merged.merge(task, align, tmp_path / "out", weights=(0.5, 2.0))
    assert all("lora_" in key for key in load_file(tmp_path / "out" / "adapter_model.safetensors"))
    assert_sum(base, tmp_path / "out", [(task, 0.5), (align, 2.0)])


def test_an_adapter_with_weight_zero_leaves_the_other(base, adapter, tmp_path):
    task, align = adapter("task"), adapter("align", 2)
    merged.merge(task, align, tmp_path / "out", weights=(1.0, 0.0))
    assert_sum(base, tmp_path / "out", [(task, 1.0)])


def test_equal_adapters_with_opposite_weights_are_nothing(base, adapter, tmp_path):
    task, align = adapter("task"), adapter("align")
    merged.merge(task, align, tmp_path / "out", weights=(1.0, -1.0))
    assert all(update.abs().max() < 1e-6 for update in update_of(base, tmp_path / "out").values())


def test_one_rank_for_all_modules_and_short_names_where_every_layer_has_them(adapter, tmp_path):
    task, align = adapter("task"), adapter("align", 2, r=3, target_modules=["q_proj", "v_proj", "up_proj"])
    record = merged.merge(task, align, tmp_path / "out", check_logits=False)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (record["rank"], config["r"], config["lora_alpha"], config["rank_pattern"]) == (5, 5, 5, {})
    assert sorted(config["target_modules"]) == ["q_proj", "up_proj", "v_proj"]
    shapes = {tensor.shape[0] for key, tensor in load_file(tmp_path / "out" / "adapter_model.safetensors").items()
              if "lora_A" in key}  # fmt: skip
    assert shapes == {5}


def test_a_lower_rank_keeps_the_best_approximation_and_says_its_error(base, adapter, tmp_path):
    task, align = adapter("task", r=3), adapter("align", 2, r=3)
    record = merged.merge(task, align, tmp_path / "out", rank=2)
    both, got = [update_of(base, folder) for folder in (task, align)], update_of(base, tmp_path / "out")
    lost = whole = 0.0
    for key, update in got.items():
        values = torch.linalg.svdvals((both[0][key] + both[1][key]).double())
        torch.testing.assert_close(torch.linalg.svdvals(update.double())[:2], values[:2], atol=1e-6, rtol=1e-5)
        lost, whole = lost + values[2:].square().sum().item(), whole + values.square().sum().item()
    assert record["relative_error"] == pytest.approx(math.sqrt(lost / whole), rel=1e-4)
    assert record["relative_error"] > 0.1


def test_swap_takes_the_middle_from_the_task_and_the_ends_from_the_alignment(base, adapter, tmp_path):
    task, align = adapter("task"), adapter("align", 2)
    merged.merge(task, align, tmp_path / "out", "swap", borders=(1, 3))
    ours, of_task, of_align = (update_of(base, folder) for folder in (tmp_path / "out", task, align))
    for key, update in ours.items():
        inside = any(f"layers.{layer}." in key for layer in (1, 2))
        torch.testing.assert_close(update, (of_task if inside else of_align)[key], atol=1e-6, rtol=1e-5)


def test_slerp_of_orthogonal_updates_stays_on_the_sphere():
    # Updates of norm 1 at a right angle: halfway both have the weight sin(45 degrees) / sin(90 degrees) = 0.7071.
    x = (torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0], [0.0]]), 1.0)
    y = (torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0], [1.0]]), 1.0)
    assert merging._slerp(x, y, (0.5, 0.5)) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))
    assert merging._slerp(x, x, (0.3, 0.7)) == (0.3, 0.7)  # no arc between equal updates
    assert merging._slerp(None, y, (0.3, 0.7)) == (0.3, 0.7)


def test_slerp_is_written_as_an_exact_sum(base, adapter, tmp_path):
    record = merged.merge(adapter("task"), adapter("align", 2), tmp_path / "out", "slerp", (0.4, 0.6))
    assert record["relative_error"] < 1e-6


@pytest.mark.parametrize("method", ["ties", "dare"])
def test_methods_that_keep_everything_are_the_sum_where_signs_agree(base, adapter, tmp_path, method):
    task, align = adapter("task"), adapter("align")  # equal: no sign is lost
    record = merged.merge(task, align, tmp_path / "out", method, (0.5, 0.5), density=1.0, rank=4)
    share = 0.5 if method == "ties" else 1.0  # TIES takes the mean of the weighted updates that agree, DARE their sum
    assert_sum(base, tmp_path / "out", [(task, share)])
    assert record["relative_error"] < 1e-5


def test_a_dense_method_says_how_much_the_rank_lost(adapter, tmp_path):
    record = merged.merge(adapter("task"), adapter("align", 2), tmp_path / "out", "ties", density=0.3, rank=4)
    assert 0.1 < record["relative_error"] < 1


def test_names_that_wrappers_leave_are_read(adapter, base, tmp_path):
    task, align = adapter("task"), adapter("align", 2)
    tensors = load_file(align / "adapter_model.safetensors")
    wrapped = {"_orig_mod.module." + key.replace(".weight", ".default.weight"): value for key, value in tensors.items()}
    save_file(wrapped, align / "adapter_model.safetensors")
    updates = read_adapter(align).updates
    assert updates.keys() == read_adapter(task).updates.keys()
    assert next(iter(updates)) == "model.layers.0.self_attn.q_proj"


def test_a_merged_adapter_can_be_merged_again(base, adapter, tmp_path):
    parts = [adapter("a"), adapter("b", 2), adapter("c", 3, layers_to_transform=[1])]
    merged.merge(parts[0], parts[1], tmp_path / "ab", weights=(1.0, 0.5))
    merged.merge(tmp_path / "ab", parts[2], tmp_path / "abc", weights=(1.0, 2.0))
    assert_sum(base, tmp_path / "abc", [(parts[0], 1.0), (parts[1], 0.5), (parts[2], 2.0)])


def test_origin_and_card_name_both_adapters(adapter, tmp_path):
    record = merged.merge(adapter("task"), adapter("align", 2), tmp_path / "out", weights=(1.0, 0.7))
    assert json.loads((tmp_path / "out" / "merge.json").read_text()) == record
    card = (tmp_path / "out" / "README.md").read_text()
    assert "/task" in card and "| 0.7 |" in card and 'from_pretrained("out")' in card
    assert sorted(p.name for p in tmp_path.iterdir()) == ["align", "out", "task"]


def change(folder, **values):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


REFUSALS = {
    "DoRA": (lambda f: change(f, use_dora=True), "rescales the whole weight"),
    "whole weights": (lambda f: change(f, modules_to_save=["lm_head"]), "whole weights"),
    "biases": (lambda f: change(f, bias="all"), "trained biases"),
    "copied layers": (lambda f: change(f, layer_replication=[[0, 2], [1, 4]]), "not those of the base model"),
    "some tokens": (lambda f: change(f, trainable_token_indices=[1]), "embeddings of some tokens"),
    "experts": (lambda f: change(f, target_parameters=["experts.down_proj"]), "parameters of experts"),
    "a key from the future": (lambda f: change(f, hyperspace=True), "we do not know what that does"),
    "another method": (lambda f: change(f, peft_type="LOHA"), "LOHA adapter; only LoRA"),
    "PiSSA": (lambda f: change(f, init_lora_weights="pissa_niter_4"), "changes the base weights"),
    "no base": (lambda f: change(f, base_model_name_or_path=None), "has no base_model_name_or_path"),
    "another base": (lambda f: change(f, base_model_name_or_path="org/other"), "do not add up"),
    "another revision": (lambda f: change(f, revision="v2"), "do not add up"),
    "a rank that is not that of the tensors": (lambda f: change(f, r=3), "rank 2 and 2, but"),
    "no tensors": (lambda f: save_file({}, f / "adapter_model.safetensors"), "holds no LoRA tensors"),
    "a pickle": (lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"), "only safetensors"),
    "no rank": (lambda f: change(f, r=None), "has r 'None'"),
    "a rank that is no whole number": (lambda f: change(f, r=2.0), "has r 2.0|has r '2.0'"),
    "an alpha in words": (lambda f: change(f, lora_alpha="four"), "has lora_alpha 'four'"),
    "an alpha that is no number": (lambda f: change(f, alpha_pattern={"q_proj": "x"}), "in alpha_pattern"),
    "a list of ranks": (lambda f: change(f, rank_pattern=[1]), "has rank_pattern"),
    "a broken pattern": (lambda f: change(f, rank_pattern={"(q_proj": 2}), "no regular expression"),
    "a base that is a number": (lambda f: change(f, base_model_name_or_path=5), "has base_model_name_or_path"),
    "a base with 9,000 letters": (lambda f: change(f, base_model_name_or_path="x" * 9000), "do not add up"),
    "brackets without end": (lambda f: (f / "adapter_config.json").write_text("[" * 100_000), "not what PEFT writes"),
    "no targets": (lambda f: change(f, target_modules=[]), "cannot both be put on"),
    "no configuration": (lambda f: (f / "adapter_config.json").unlink(), "not what PEFT writes"),
}


@pytest.mark.parametrize(("spoil", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_cannot_be_merged_is_refused_and_nothing_is_written(adapter, tmp_path, spoil, words):
    task, align = adapter("task"), adapter("align", 2)
    spoil(align)
    with pytest.raises(InputError, match=words):
        merged.merge(task, align, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def spoil_tensors(folder, act):
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(act(tensors), folder / "adapter_model.safetensors")


def first(tensors):
    return next(key for key in tensors if "lora_A" in key)


DAMAGE = {
    "half an update": (lambda t: {k: v for k, v in t.items() if k != first(t)}, "half an update"),
    "not finite": (lambda t: t | {first(t): t[first(t)] * math.nan}, "not finite"),
    "embeddings of its own": (
        lambda t: t | {"base_model.model.lm_head.weight": torch.ones(2, 2)},
        "holds another lm_head",
    ),
    "whole weights": (lambda t: t | {"base_model.model.score.weight": torch.ones(2, 2)}, "no factor of a LoRA"),
    "whole numbers": (lambda t: {k: v.to(torch.int8) for k, v in t.items()}, "no factor of a LoRA"),
    "two adapters": (
        lambda t: t | {first(t).replace(".weight", ".other.weight"): t[first(t)].clone()},
        "two updates",
    ),
    "a layer too many": (
        lambda t: t | {k.replace("layers.0", "layers.9"): v.clone() for k, v in t.items()},
        "has 4 layers",
    ),
    "a module of another model": (
        lambda t: {k.replace("v_proj", "value"): v for k, v in t.items()},
        "self_attn.value, which",
    ),
    "another size": (
        lambda t: {k: torch.ones(2, 32) if "lora_A" in k else v for k, v in t.items()},
        "they have not one base",
    ),
    "a convolution": (lambda t: t | {first(t): torch.ones(2, 16, 1, 1)}, "no factor of a LoRA"),
    "a DoRA magnitude": (lambda t: t | {"base_model.model.x.lora_magnitude_vector.weight": torch.ones(2)}, "no factor"),
}


@pytest.mark.parametrize(("act", "words"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_adapters_are_refused(adapter, tmp_path, act, words):
    task, align = adapter("task"), adapter("align", 2)
    spoil_tensors(align, act)
    with pytest.raises(InputError, match=words):
        merged.merge(task, align, tmp_path / "out")


OPTIONS = {
    "an unknown method": ({"method": "linear"}, "use sum, slerp, swap, ties, dare"),
    "swap without borders": ({"method": "swap"}, "swap needs two borders"),
    "borders without swap": ({"borders": (1, 2)}, "other methods take none"),
    "borders that leave nothing": ({"method": "swap", "borders": (0, LAYERS)}, "leave one of the adapters no layer"),
    "borders outside": ({"method": "swap", "borders": (1, 9)}, "give two of 0 to 4"),
    "borders below": ({"method": "swap", "borders": (-1, 2)}, "give two of 0 to 4"),
    "weights that are no numbers": ({"weights": (1.0, math.nan)}, "give two finite numbers"),
    "endless weights, cut": ({"weights": (1.0, math.inf), "rank": 1}, "give two finite numbers"),
    "rank 0": ({"rank": 0}, "give 1 or more"),
    "weights that do not fit": ({"weights": (1e6, 1.0), "dtype": "float16"}, "does not fit into float16"),
    "weights that vanish": (
        {"weights": (1e-9, 1e-9), "dtype": "float16"},
        "is too coarse .* use --dtype float32",
    ),
    "a density that keeps nothing": ({"method": "ties", "density": 1e-9, "rank": 2}, "no update is left"),
    "slerp with weights of more than 1": ({"method": "slerp"}, "let them sum to 1"),
    "ties without a density": ({"method": "ties", "rank": 4}, "give --density"),
    "dare without a rank": ({"method": "dare", "density": 0.5}, "and --rank"),
    "a density for the sum": ({"density": 0.5}, "--density belongs to"),
    "no weight at all": ({"weights": (0.0, 0.0)}, "no update is left"),
}


@pytest.mark.parametrize(("options", "words"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options_that_do_not_fit_are_refused(adapter, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        merged.merge(adapter("task"), adapter("align", 2), tmp_path / "out", check_logits=False, **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(adapter, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"^\S+/out is there already; name a new folder\.$"):
        merged.merge(adapter("task"), adapter("align", 2), tmp_path / "out")
    assert (tmp_path / "out" / "thesis.tex").read_text() == "mine"


def test_a_rank_above_what_a_weight_can_have_is_cut_exactly(base, adapter, tmp_path):
    task, align = adapter("task", r=10), adapter("align", 2, r=10)  # v_proj is 8 x 16: rank 8 at most
    record = merged.merge(task, align, tmp_path / "out", rank=12)
    assert 1e-6 < record["relative_error"] < 1  # q_proj, 16 x 16, loses something
    both = sum(update_of(base, folder)["model.layers.0.self_attn.v_proj.weight"] for folder in (task, align))
    got = update_of(base, tmp_path / "out")["model.layers.0.self_attn.v_proj.weight"]
    torch.testing.assert_close(got, both, atol=1e-5, rtol=1e-4)


def test_swap_weighs_each_side(base, adapter, tmp_path):
    task, align = adapter("task"), adapter("align", 2)
    merged.merge(task, align, tmp_path / "out", "swap", (0.5, 2.0), borders=(1, 3))
    ours, of_task, of_align = (update_of(base, folder) for folder in (tmp_path / "out", task, align))
    for key, update in ours.items():
        inside = any(f"layers.{layer}." in key for layer in (1, 2))
        wanted = 0.5 * of_task[key] if inside else 2.0 * of_align[key]
        torch.testing.assert_close(update, wanted, atol=1e-6, rtol=1e-5)


PLACES = {
    "below a file": lambda folder: folder / "file" / "out",
    "a name of 5,000 letters": lambda folder: folder / ("n" * 5000),
    "a NUL": lambda folder: str(folder / "a\0b"),
    "a folder of the system": lambda folder: "/proc/merged",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_place_that_cannot_be_a_folder_ends_in_a_sentence(adapter, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"cannot be (a folder|written)"):
        merged.merge(adapter("task"), adapter("align", 2), place(tmp_path), check_logits=False)


def test_folders_of_others_beside_the_output_stay(adapter, tmp_path):
    (tmp_path / "out.incomplete").mkdir()
    (tmp_path / "out.incomplete" / "thesis.tex").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    merged.merge(adapter("task"), adapter("align", 2), tmp_path / "link", check_logits=False)
    assert (tmp_path / "out.incomplete" / "thesis.tex").read_text() == "mine"
    assert (tmp_path / "out" / "merge.json").is_file() and (tmp_path / "link").is_symlink()


def test_a_base_with_two_names_is_merged_when_it_is_named(base, adapter, tmp_path):
    task, align = adapter("task"), adapter("align", 2)
    change(align, base_model_name_or_path="someone/the-same-in-4-bits")
    merged.merge(task, align, tmp_path / "out", base=base)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == base


def test_an_adapter_from_a_4_bit_base_is_merged_on_the_plain_one(base, adapter, tmp_path):
    # What QLoRA saves is a plain LoRA adapter: nothing in it depends on how the base was stored.
    task, align = adapter("task"), adapter("align", 2, init_lora_weights="gaussian")
    merged.merge(task, align, tmp_path / "out", base=base)
    assert_sum(base, tmp_path / "out", [(task, 1.0), (align, 1.0)])


def test_servers_limits_are_said(adapter, tmp_path):
    assert server_notes(adapter("plain")) == []
    assert server_notes(adapter("wide", r=24)) == ["rank 24: start vLLM with --max-lora-rank 32"]
    assert "vLLM serves at most 512" in server_notes(adapter("huge", r=600))[0]
    assert "rank_pattern" in server_notes(adapter("pattern", rank_pattern={"q_proj": 3}))[0]
    assert "lm_head" in server_notes(adapter("head", target_modules=["lm_head"]))[1]
    assert "between others" in server_notes(adapter("gaps", layers_to_transform=[0, 2]))[0]


def test_the_check_of_logits_notices_a_wrong_merge(base, adapter, tmp_path, monkeypatch):
    combine = merging.combine

    def wrong(*arguments):
        return {module: (down, up * 1.01) for module, (down, up) in combine(*arguments).items()}

    monkeypatch.setattr(merging, "combine", wrong)
    monkeypatch.setattr(merging, "relative_error", lambda *_: 0.0)
    with pytest.raises(Exception, match="logits with the merged adapter"):
        merged.merge(adapter("task"), adapter("align", 2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sample_sentences_have_logits_one_by_one(base, tokenizer):
    model = LlamaForCausalLM.from_pretrained(base)
    sentences = sample_sentences(7)
    assert len(set(sentences)) == 7
    found = logits(model, tokenizer, sentences)
    assert [len(each) for each in found] == [len(tokenizer(text)["input_ids"]) for text in sentences]


@pytest.mark.slow
def test_adapters_of_an_8b_model_are_merged_exactly(tmp_path):
    # Llama 3 8B's shapes, random factors; the command and its figures are in docs/merging.md.
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("merge_8b.py")), str(tmp_path)], capture_output=True, text=True
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["relative_error"] < 1e-6 and figures["modules"] == 224


@pytest.fixture
def revisions(adapter):
    """Two adapters of one base, at v1 and at v2."""
    folders = adapter("task"), adapter("align", 2)
    for folder, revision in zip(folders, ("v1", "v2"), strict=True):
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**config, "revision": revision}))
    return folders


def test_adapters_of_two_revisions_are_refused_by_the_command_too(revisions, tmp_path, midalign):
    task, align = revisions
    code, _, err = midalign("merge", "--task", task, "--align", align, "-o", tmp_path / "out")
    assert code == 2 and " at v2; updates of different models do not add up" in err


def test_a_base_that_is_named_is_not_asked_for_the_revision_of_another(base, revisions, tmp_path):
    merged.merge(*revisions, tmp_path / "out", base=base, check_logits=False)
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["revision"] is None


def test_updates_of_the_text_part_alone_stay_there_where_the_base_also_sees(tmp_path, tokenizer):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    config = Gemma3Config(text_config=text, vision_config={**sizes, "image_size": 8, "patch_size": 4})
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    for name in ("task", "align"):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        lora = LoraConfig(r=2, target_modules=r".*language_model.*q_proj", init_lora_weights=False)
        get_peft_model(model, lora).save_pretrained(tmp_path / name)
    merged.merge(tmp_path / "task", tmp_path / "align", tmp_path / "out")
    load_run_model(find_run(str(tmp_path / "out")))  # refused until all that it says it has is there

"""What a user writes in a recipe or on the command line, and the sentence for each mistake."""

import re
import warnings
from pathlib import Path

import pytest
import yaml

from midalign.config import MidAlignConfig
from midalign.errors import InputError
from midalign.layers import resolve_layer, resolve_lora_layers
from midalign.recipe import read_recipe

BASE = "model_name_or_path: some/model\ntask_data: demo\nalign_data: [demo]\noutput_dir: data/x\n"
RECIPES = sorted(Path(__file__).parents[1].glob("recipes/*/*.yaml"))
# The alignment block, and where the result goes and is compared.
MAY_DIFFER = {"output_dir", "baseline_recipe"}


@pytest.fixture
def read(tmp_path):
    def read(text="", *overrides):
        path = tmp_path / "recipe.yaml"
        path.write_text(BASE + text, encoding="utf-8")
        return read_recipe([str(path), *overrides])

    return read


def test_the_command_line_wins_over_the_recipe_and_the_recipe_over_the_default(read):
    data, training, model = read(
        "align_layer: 3\nuse_peft: true\nlora_r: 4\n", "--align_layer", "5", "--task_languages", "de-DE", "en-US"
    )
    assert (training.align_layer, model.lora_r, training.align_temperature) == (5, 4, 0.1)
    assert data.task_languages == ["de-DE", "en-US"]


def test_numbers_without_the_dot_are_numbers_too(read):
    assert read("learning_rate: 5e-4\n")[1].learning_rate == 5e-4


def test_half_precision_is_off_where_the_machine_has_none(read):
    assert read()[1].bf16 is False


def test_half_precision_is_off_on_a_gpu_machine_that_is_told_to_use_the_cpu(read, monkeypatch):
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    assert read("use_cpu: true\n")[1].bf16 is False


@pytest.mark.parametrize("prefix", ["activation", "gradient"])
@pytest.mark.parametrize("on", [True, False])
def test_checkpointing_is_set_by_its_new_name_and_its_old_one_without_a_warning(prefix, on, read):
    text = f"{prefix}_checkpointing: {str(on).lower()}\n{prefix}_checkpointing_kwargs: {{use_reentrant: true}}\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training = read(text)[1]
    for name in ("activation", "gradient"):  # TRL reads the old one
        assert getattr(training, f"{name}_checkpointing") is on
        assert getattr(training, f"{name}_checkpointing_kwargs") == {"use_reentrant": True}


def test_a_recipe_that_does_not_speak_of_checkpointing_has_it_on_as_in_trl_without_a_warning(read):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training = read()[1]
    assert training.activation_checkpointing is training.gradient_checkpointing is True


def test_a_smaller_loss_is_better_and_a_higher_retrieval_is_better(read):
    keep = "eval_strategy: steps\neval_steps: 5\nsave_steps: 5\nload_best_model_at_end: true\n"
    assert read(keep + "metric_for_best_model: task\n")[1].greater_is_better is False
    assert read(keep + "metric_for_best_model: retrieval_at_1\n")[1].greater_is_better is True


def test_the_length_on_the_command_line_wins_over_the_recipe_s(read):
    assert read("max_steps: 300\n", "--num_train_epochs", "2")[1].max_steps == -1
    assert read("num_train_epochs: 2\n", "--max_steps=7")[1].max_steps == 7
    assert read("max_steps: 300\n", "--num-train-epochs=2")[1].num_train_epochs == 2


@pytest.mark.parametrize(
    ("given", "meant"),
    [("[q_proj]", ["q_proj"]), ("q_proj", ["q_proj"]), ("all-linear", "all-linear"), ("['.*_proj']", ".*_proj")],
)
def test_one_module_is_a_name_and_a_pattern_stays_one(read, given, meant):
    assert read(f"use_peft: true\nlora_target_modules: {given}\n")[2].lora_target_modules == meant


MISTAKES = [
    ("max_steps: 3\nnum_train_epochs: 2\n", (), "num_train_epochs and max_steps are both set"),
    ("", ("--max_steps", "3", "--num_train_epochs=2"), "num_train_epochs and max_steps are both set"),
    ("align_lyer: 3\n", (), "unknown key align_lyer; did you mean align_layer?"),
    ("xyz: 3\n", (), "unknown key xyz; see recipes/keys.md"),
    ("", ("--align_layr", "3"), "unknown key align_layr; did you mean align_layer?"),
    ("learning_rate: fast\n", (), "learning_rate: found 'fast'; give it a number"),
    ("seed: 1.5\n", (), "seed: found '1.5'; give it a whole number"),
    ("use_peft: perhaps\n", (), "use_peft"),
    ("align_schedule: often\n", (), "align_schedule: found 'often'; choose from 'joint', 'alternate'"),
    ("eval_strategy: no\n", (), 'eval_strategy: found False, which YAML makes of bare words like no; write "no"'),
    ("seed:\n", (), "seed has no value"),
    ("seed: 1\nseed: 2\n", (), "seed appears twice"),
    ("[", (), "is not valid YAML"),
    ("", ("stray",), "found 'stray' without a key"),
    ("", ("--seed",), "seed: expected one argument"),
    ("packing: true\n", (), "packing cannot be set: rows are never packed"),
    ("trust_remote_code: true\n", (), "trust_remote_code cannot be set"),
    (
        "neftune_noise_alpha: 5\n",
        (),
        "neftune_noise_alpha cannot be set: its noise is scaled by the length of a padded row",
    ),
    ("", ("--neftune_noise_alpha", "5"), "neftune_noise_alpha cannot be set"),
    ("include_num_input_tokens_seen: all\n", (), "include_num_input_tokens_seen cannot be set: it misses pairs"),
    ("debug: underflow_overflow\n", (), "debug cannot be set"),
    ("dataloader_in_order: false\n", (), "dataloader_in_order cannot be set"),
    ("accelerator_config: {split_batches: true}\n", (), "accelerator_config cannot be set"),
    ("ddp_static_graph: true\n", (), "ddp_static_graph cannot be set"),
    ("fsdp: full_shard\n", (), "fsdp cannot be set: the engine is that of `accelerate launch"),
    ("optim: lomo\n", (), "optim lomo steps inside the backward pass"),
    ("optim: galore_adamw_layerwise\n", (), "optim galore_adamw_layerwise steps inside"),
    ("bf16: true\n", (), "bf16"),
    ("load_in_4bit: true\nload_in_8bit: true\n", (), "8 bit and 4 bit"),
    ("align_temperature: 0\n", (), "align_temperature=0.0; set it to a number above 0"),
    ("align_temperature: .nan\n", (), "align_temperature=nan"),
    ("align_weight: -1\n", (), "align_weight=-1.0; set it to 0 or more"),
    ("align_batch_size: 1\n", (), "align_batch_size=1; set it to 2 or more pairs"),
    ("align_loss: cka\nalign_batch_size: 3\n", (), "align_batch_size=3; set it to 4 or more pairs"),
    ("align_loss: cka\nalign_eval_pairs: 3\n", (), "align_eval_pairs=3; set it to 4 or more pairs"),
    ("align_every: 0\n", (), "align_every=0"),
    ("align_layer: 0\n", (), "align_layer=0; set it to a layer number or a fraction below 1"),
    ("align_layer: 1.5\n", (), "align_layer=1.5"),
    ("align_layer: .inf\n", (), "align_layer=inf"),
    ("learning_rate: 0\n", (), "learning_rate=0.0; set it to a number above 0"),
    ("per_device_train_batch_size: 0\n", (), "per_device_train_batch_size=0; set it to 1 or more"),
    ("align_eval_pairs: 1\n", (), "align_eval_pairs=1; set it to 2 or more"),
    ("lora_r: 4\n", (), "lora_r is set, but use_peft is not"),
    ("use_peft: true\nuse_bnb_nested_quant: true\n", (), "use_bnb_nested_quant is set, but load_in_4bit is not"),
    ("eval_on_start: true\n", (), "eval_on_start needs an evaluation"),
    ("align_pool_skip_first: true\nalign_pooling: last\n", (), "align_pool_skip_first averages the other tokens"),
    ("align_context: task\nalign_pooling: bos\n", (), "align_context task has the same first token"),
    ("baseline_recipe: other.yaml\n", (), "baseline_recipe is for the table of score_languages"),
    ("align_languages: [de]\nmetric_for_best_model: retrieval_at_1_xx\n", (), "only de are measured"),
    ("align_sampling_temperature: 0\n", (), "align_sampling_temperature=0.0"),
    ("score_rows: 0\n", (), "score_rows=0"),
    ("align_every: 2\nalign_schedule: alternate\n", (), "align_every works with align_schedule joint"),
    ("align_learning_rate: 0.1\n", (), "align_learning_rate needs steps of its own"),
    ("align_loss: mse\nalign_center: true\n", (), "align_center belongs to align_loss infonce and multiway, found mse"),
    ("align_loss: multiway\nalign_symmetric: true\n", (), "align_symmetric belongs to align_loss infonce, found multi"),
    ("align_anchor_weight: 0.1\nuse_peft: false\n", (), "without its adapter, found none; set use_peft: true"),
    ("align_anchor_weight: -1\nuse_peft: true\n", (), "align_anchor_weight=-1.0; set it to 0 or more"),
    ("align_until: 5\nalign_schedule: alternate\n", (), "align_until works with align_schedule joint, found alternate"),
    ("align_until: 5\nmax_steps: 5\n", (), "align_until=5 is not before the end, max_steps=5"),
    ("align_until: 0\n", (), "align_until=0; set it to 1 or more"),
    ("align_layer: [2, 2]\n", (), "align_layer=2, 2 names a layer twice; name each once"),
    ("align_layer: [2, 1.5]\n", (), "align_layer=1.5; set it to a layer number or a fraction below 1"),
    ("align_layer: []\n", (), "align_layer: found an empty list"),
    ("align_layer: [2, two]\n", (), "align_layer: found 'two'; give it a number"),
    ("lora_layers: upper\nuse_peft: true\n", (), "lora_layers=upper; set it to a number of layers, or align"),
    ("lora_layers: 0\nuse_peft: true\n", (), "lora_layers=0; set it to a number of layers, or align"),
    ("lora_layers: 2\n", (), "lora_layers is set, but use_peft is not"),
    ("use_peft: true\nlora_target_modules: [lm_head]\n", (), "lora_target_modules names lm_head, whose own weight TRL"),
    ("use_peft: true\nlora_target_modules: [model.lm_head, q_proj]\n", (), "lora_target_modules names lm_head"),
    ("metric_for_best_model: bleu\n", (), "metric_for_best_model=bleu; set it to one of loss, task, align"),
    ("early_stopping_patience: 5\n", (), "early_stopping_patience needs a best model"),
    (
        "activation_checkpointing: false\n",
        ("--gradient_checkpointing", "true"),
        "gradient_checkpointing is the old name of activation_checkpointing, and both are set",
    ),
    (
        "gradient_checkpointing_kwargs: {use_reentrant: false}\n",
        ("--activation_checkpointing_kwargs={}",),
        "gradient_checkpointing_kwargs is the old name of activation_checkpointing_kwargs",
    ),
]


@pytest.mark.parametrize(("text", "overrides", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_a_mistake_gets_one_sentence(text, overrides, message, read):
    with pytest.raises(InputError) as error:
        read(text, *overrides)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("missing", ["model_name_or_path", "task_data", "align_data", "output_dir"])
def test_a_missing_key_is_named(missing, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("".join(line + "\n" for line in BASE.splitlines() if not line.startswith(missing)))
    with pytest.raises(InputError, match=missing):
        read_recipe([str(path)])


def test_an_unreadable_recipe_is_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_recipe([str(tmp_path / "absent.yaml")])


def test_a_layer_is_a_number_or_a_fraction_of_the_depth():
    assert [resolve_layer(x, 32) for x in (16, 0.5, 1, 31)] == [16, 16, 1, 31]
    for outside in (32, 0.99, 0.001):
        with pytest.raises(InputError, match=r"set it to 1\.\.31 or a fraction"):
            resolve_layer(outside, 32)


def test_several_layers_are_sorted_and_named_once():
    assert resolve_layer([11, 0.25], 32) == [8, 11]
    assert MidAlignConfig("out", use_cpu=True, align_layer=[7]).align_layer == 7
    with pytest.raises(InputError, match=r"align_layer=0\.5, 16 names a layer twice"):
        resolve_layer([0.5, 16], 32)
    with pytest.raises(InputError, match="align_layer is an empty list"):
        resolve_layer([])


def test_an_adapter_ends_at_a_layer_number_or_at_the_highest_that_is_aligned():
    assert [resolve_lora_layers(*given, 18) for given in (("5", 11), ("align", 11), ("align", [9, 11]))] == [5, 11, 11]
    with pytest.raises(InputError, match=r"lora_layers=18, but the model has 18 layers; set it to 1\.\.17"):
        resolve_lora_layers("18", 11, 18)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: "/".join(path.parts[-2:]))
def test_every_recipe_parses_on_a_machine_without_gpu(path):
    read_recipe([str(path)])


@pytest.mark.parametrize(
    "path", [p for p in RECIPES if p.name.startswith("align")], ids=lambda p: "/".join(p.parts[-2:])
)
def test_sft_and_align_of_one_model_differ_only_in_alignment_keys_and_output(path):
    sft_path = path.with_name(path.name.replace("align", "sft"))
    align, sft = (yaml.safe_load(p.read_text()) for p in (path, sft_path))
    keys = {key for key in {*align, *sft} if align.get(key) != sft.get(key)}
    assert sft["align_schedule"] == "sft"
    assert {key for key in keys if not key.startswith("align_")} <= MAY_DIFFER


@pytest.mark.parametrize(
    "path",
    [p for p in RECIPES if re.fullmatch(r"translate(_entities)?(_[0-9.]+[mb])?\.yaml", p.name)],
    ids=lambda p: "/".join(p.parts[-2:]),
)
def test_translation_of_the_aligned_pairs_is_all_that_a_mixed_recipe_adds_to_sft(path):
    beside = [path.with_name(path.name.replace("translate", kind)) for kind in ("sft", "align")]
    mixed, sft, align = (yaml.safe_load(p.read_text()) for p in (path, *beside))
    changed = {key for key in mixed if mixed[key] != sft.get(key)}
    assert changed == {"task", "task_data", "task_languages", "task_eval_languages", "output_dir"}
    assert mixed.keys() - sft.keys() <= {"task"} and not sft.keys() - mixed.keys()
    assert (mixed["task"], mixed["task_data"][0]) == ([sft.get("task", "slots"), "translation"], sft["task_data"])
    own, directions = mixed["task_languages"]
    assert own.split(",") == sft["task_languages"]
    pairs = [direction for tag in align["align_languages"] for direction in (f"{tag}-en", f"en-{tag}")]
    assert sorted(directions.split(",")) == sorted(pairs)


@pytest.mark.parametrize(
    "path", [p for p in RECIPES if p.name.startswith("translate_translation")], ids=lambda p: "/".join(p.parts[-2:])
)
def test_translate_learns_the_pairs_that_align_aligns_and_differs_from_sft_in_nothing_else(path):
    beside = [path.with_name(path.name.replace("translate_", f"{kind}_")) for kind in ("sft", "align")]
    translate, sft, align = (yaml.safe_load(p.read_text()) for p in (path, *beside))
    assert {key for key in translate if translate[key] != sft.get(key)} == {"task_languages", "output_dir"}
    pairs = [direction for x in align["align_languages"] for direction in (f"{x}-en", f"en-{x}")]
    assert sorted(translate["task_languages"]) == sorted(sft["task_languages"] + pairs)
    assert align["align_data"] == [f"{translate['task_data']}/train"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_recipe_starts_with_its_own_command(path):
    first = path.read_text().splitlines()[0]
    assert first == f"# accelerate launch src/run_midalign.py recipes/{path.parts[-2]}/{path.name}"

"""What works on which engine, as the table says it."""

from pathlib import Path

import pytest

from midalign.compatibility import ENGINES, FEATURES, require_compatible, table
from midalign.errors import InputError
from midalign.recipe import read_recipe

PAGE = Path(__file__).parents[1] / "recipes" / "engines.md"
CHUNKS = "align_chunk_size: 2\n"


def test_the_docs_print_the_table():
    assert table() in PAGE.read_text(encoding="utf-8")


def test_no_feature_is_both_trained_and_refused():
    for feature in FEATURES:
        assert not set(feature.trained) & feature.refused.keys()
        assert {*feature.trained, *feature.refused} <= ENGINES.keys()


@pytest.mark.parametrize(
    ("engine", "lines", "sentence"),
    [
        ("zero3", CHUNKS, "does not work with ZeRO-3: frozen weights are away .* set activation_checkpointing: true"),
        (
            "ddp",
            CHUNKS + "align_schedule: alternate\n",
            "does not work with DDP: .* use joint or delete align_chunk_size",
        ),
        (
            "fsdp2",
            "activation_checkpointing_kwargs: {use_reentrant: true}\n",
            "use_reentrant: true does not work with FSDP2: .* delete activation_checkpointing_kwargs",
        ),
        ("single", "dtype: bfloat16\n", "does not work with one process: .* set dtype: float32, or use zero2 or zero3"),
        (
            "ddp",
            "align_schedule: alternate\nddp_find_unused_parameters: false\n",
            "does not work with DDP: .* delete ddp_find_unused_parameters",
        ),
        (
            "zero3",
            "activation_checkpointing_kwargs: {use_reentrant: true}\n",
            "use_reentrant: true does not work with ZeRO-3",
        ),
        ("single", "load_in_8bit: true\n", "quantised weights are not trained; set use_peft: true"),
    ],
)
def test_a_refusal_names_what_works_instead(engine, lines, sentence, recipe):
    text = recipe(lines).read_text()
    text = text.replace(
        "activation_checkpointing: false", f"activation_checkpointing: {str('kwargs' in lines).lower()}"
    )
    if "8bit" in lines or "dtype" in lines:
        text = text.replace("use_peft: true\nlora_r: 4\nlora_target_modules: [q_proj, v_proj]\n", "")
    Path("recipe.yaml").write_text(text)
    with pytest.raises(InputError, match=sentence):
        _, training, model = read_recipe(["recipe.yaml"])
        require_compatible(training, model, engine)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_plain_recipe_works_everywhere(engine, recipe):
    _, training, model = read_recipe([str(recipe())])
    require_compatible(training, model, engine)


def test_full_fine_tuning_is_one_override_away(recipe):
    _, _, model = read_recipe([str(recipe()), "--use_peft", "false"])
    assert not model.use_peft

"""A model or an adapter that holds NaN or infinity is none."""

import math
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from midalign.errors import InputError
from midalign.models.runs import find_run, load_run
from midalign.models.weights import first_not_finite


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_weight_that_is_no_number_is_named(bad):
    weights = {"one": torch.ones(2), "other": torch.tensor([1.0, bad]), "third": torch.tensor([bad])}
    assert first_not_finite(weights.items()) == "other"


def test_numbers_of_every_kind_are_finite():
    weights = {
        "half": torch.ones(2, dtype=torch.bfloat16),
        "bits": torch.ones(2, dtype=torch.uint8),
        "none": torch.ones(0),
    }
    assert first_not_finite(weights.items()) is None and first_not_finite([]) is None


def test_a_weight_that_another_process_holds_is_named_here_too():
    # The other process has found its part of the second weight bad.
    found = first_not_finite(
        {"a": torch.ones(1), "b": torch.ones(1)}.items(), lambda flags: flags + torch.tensor([0.0, 1.0])
    )
    assert found == "b"


@pytest.mark.parametrize("what", ["adapter", "model"])
def test_what_is_no_number_is_not_evaluated(what, parrot, tmp_path):
    shutil.copytree(parrot, tmp_path / "model")
    run = find_run(str(tmp_path / "model"))
    if what == "adapter":
        model, _ = load_run(run)
        get_peft_model(model, LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
        run = find_run(str(tmp_path / "adapter"))
    file = next((tmp_path / what).glob("*model.safetensors"))
    weights = load_file(file)
    name = next(iter(weights))
    weights[name].view(-1)[-1] = math.nan
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"the weight \S+ is not finite"):
        load_run(run)

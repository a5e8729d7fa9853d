"""Nothing that comes with a model or a data set is run."""

import json
import pickle

import pytest

import run_midalign
from midalign.errors import InputError
from midalign.models.runs import find_run, load_run


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def bomb(tmp_path):
    content = pickle.dumps(Bomb(tmp_path / "written"))
    yield content
    assert not (tmp_path / "written").exists()


def test_the_bomb_of_these_tests_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "here")))
    assert (tmp_path / "here").exists()


def test_a_pickled_adapter_is_refused(recipe, tmp_path, bomb):
    recipe()
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"base_model_name_or_path": str(tmp_path / "model"), "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.bin").write_bytes(bomb)
    with pytest.raises(InputError, match="only safetensors are loaded"):
        find_run(str(folder))


def test_a_pickle_named_safetensors_is_refused(recipe, tmp_path, bomb):
    recipe()
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"base_model_name_or_path": str(tmp_path / "model"), "peft_type": "LORA", "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(bomb)
    with pytest.raises(InputError, match="does not fit"):
        load_run(find_run(str(folder)))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickled_model_is_refused(name, recipe, tmp_path, bomb, capsys):
    path = recipe()
    (tmp_path / "model" / "model.safetensors").unlink()
    (tmp_path / "model" / name).write_bytes(bomb)
    assert run_midalign.main([str(path)]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


def test_code_that_comes_with_a_model_is_not_run(recipe, tmp_path, capsys):
    path = recipe()
    config = tmp_path / "model" / "config.json"
    values = json.loads(config.read_text())
    values |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    config.write_text(json.dumps(values))
    (tmp_path / "model" / "own.py").write_text(f"open({str(tmp_path / 'written')!r}, 'w')\nclass Own: pass\n")
    assert run_midalign.main([str(path)]) == 2
    assert "cannot be loaded" in capsys.readouterr().err
    assert not (tmp_path / "written").exists()


def test_template_code_in_a_text_stays_text(recipe, tokenizer):
    from midalign.data.tokens import prompt_ids
    from midalign.tasks.slots.task import Slots

    text = "{{ 7 * 7 }} {% for x in y %}"
    assert text in tokenizer.decode(prompt_ids(tokenizer, Slots().prompt({"utt": text})))

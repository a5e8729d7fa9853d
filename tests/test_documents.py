"""Code in documents runs."""

import json
import re
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from midalign.demo import corpus

ROOT = Path(__file__).parents[1]
SNIPPETS = [
    pytest.param(code, id=f"{file.relative_to(ROOT)}-{number}")
    for file in sorted([*ROOT.glob("*.md"), *ROOT.glob("recipes/**/*.md"), *ROOT.glob("src/**/*.md")])
    for number, code in enumerate(re.findall(r"^```py\w*\n(.*?)^```", file.read_text(encoding="utf-8"), re.M | re.S))
]


@pytest.fixture
def names(parrot, tmp_path, monkeypatch):
    """What the snippets leave to the reader; the files that they name lie in the current folder."""
    monkeypatch.chdir(tmp_path)
    test = tmp_path / "MASSIVE" / "en-US" / "test.jsonl"
    test.parent.mkdir(parents=True)
    test.write_text("".join(json.dumps(row) + "\n" for row in corpus.rows("en-US", "test")[:5]), encoding="utf-8")
    config = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(parrot), config).save_pretrained("adapter")
    return {"MODEL": str(parrot), "TATOEBA_DE": "demo", "LAYER": 1, "skip": True, "center": True}


def test_there_are_snippets():
    assert len(SNIPPETS) >= 2


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_python_snippet_runs(code, names):
    code = re.sub(r"{{ ?code ?}}", '"adapter"', re.sub(r"^{%.*%}\n", "", code, flags=re.M))  # of a card's template
    exec(compile(code, "snippet", "exec"), names)

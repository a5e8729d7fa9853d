"""Code in documents runs."""

import json
import re
from pathlib import Path

import pytest
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from midalign.demo import corpus

ROOT = Path(__file__).parents[1]
PAGES = sorted(page for top in ("", "recipes/**/", "src/**/", "upstream/**/") for page in ROOT.glob(f"{top}*.md"))
POINTING = [*PAGES, *ROOT.glob("recipes/**/*.yaml"), *ROOT.glob("accelerate_configs/*"), *ROOT.glob("src/**/*.py")]
SNIPPETS = [
    pytest.param(code, id=f"{file.relative_to(ROOT)}-{number}")
    for file in PAGES
    if file != ROOT / "README.md"  # which has a test of its own
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


def test_own_rows_and_pairs_train_from_the_readme(make_model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_model().save_pretrained("tiny")
    tokenizer.save_pretrained("tiny")
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(code.splitlines()) <= 20
    code, named = re.subn("Qwen/Qwen2.5-0.5B-Instruct", "tiny", code)
    assert named == 1
    names = {}
    exec(compile(code, "README", "exec"), names)
    trainer = names["trainer"]
    assert (trainer.state.global_step, trainer.align_layer) == (3, 2)
    trained = [[id for id in row if id != -100] for row in trainer.train_dataset["labels"]]
    assert [tokenizer.decode(ids) for ids in trained] == ["lights: off<|im_end|>\n"] * 2
    adapter = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("tiny"), "mine")
    assert any(weight.any() for name, weight in adapter.named_parameters() if "lora_B" in name)


def anchors(page):
    """What its headings are called in links."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        if "{{" in target:  # of a card's template
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(found), f"{page.name} links to {target}#{anchor}"


def test_pages_and_sections_that_comments_and_sentences_name_are_there():
    for file in POINTING:
        text = file.read_text(encoding="utf-8")
        for page in re.findall(r"\brecipes/\w+\.md\b", text):
            assert (ROOT / page).is_file(), f"{file.relative_to(ROOT)} names {page}"
        for section, page in re.findall(r'"([A-Z][\w ]+)" in (recipes/\w+\.md)', text):
            assert section.lower().replace(" ", "-") in anchors(ROOT / page), f"{file} names {section} in {page}"


def test_the_readme_stays_a_first_screen_under_250_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 250

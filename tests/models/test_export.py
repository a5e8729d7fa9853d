"""Export: the written folder is the run, checked before it is there; and what GGUF needs of a template."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from peft import AdaLoraConfig, IA3Config, LoraConfig, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from midalign.errors import InputError, MidalignError
from midalign.models import export as exporting
from midalign.models import gguf
from midalign.models.export import export
from midalign.models.learned import learned, seed_of
from midalign.models.runs import find_run

CHATS = [[{"role": "user", "content": text}] for text in ("wake me at nine", "wie ist das Wetter", "ne bileyim")]


@pytest.fixture(scope="module", params=[False, True], ids=["own head", "tied head"])
def base(tmp_path_factory, tokenizer, request):
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=request.param,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def run(base, tmp_path, tokenizer):
    """run(**LoraConfig) -> the run of an adapter with random factors."""

    def make(**settings):
        settings = {"r": 4, "target_modules": ["q_proj", "down_proj"], **settings}
        model = get_peft_model(LlamaForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", **settings))
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(tmp_path / "adapter")
        tokenizer.save_pretrained(tmp_path / "adapter")
        return find_run(str(tmp_path / "adapter"))

    return make


KINDS = {
    "LoRA": {},
    "rsLoRA": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "a trained head": {"modules_to_save": ["lm_head"]},
    "all embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "the head": {"target_modules": ["q_proj", "lm_head"]},
    "both": {"target_modules": ["lm_head", "embed_tokens"]},
}


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())
def test_the_exported_model_is_the_run(run, tmp_path, settings):
    record = export(run(**settings), tmp_path / "out", CHATS, "float32", max_new_tokens=8)
    assert record["answers"] == {"rows": 3, "equal": 1.0}
    assert record["logits"]["largest_gap"] < 1e-4 * record["logits"]["largest_logit"]
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == record
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "out"]


def test_the_exported_folder_is_read_by_plain_transformers_in_a_new_process(run, tmp_path):
    export(run(), tmp_path / "out", [], "float32")
    code = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model, info = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)\n"
        "ids = AutoTokenizer.from_pretrained(sys.argv[1])('hello', return_tensors='pt')['input_ids']\n"
        "problems = [*info['missing_keys'], *info['unexpected_keys']]\n"
        "print(len(problems), model(input_ids=ids).logits.sum().item())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], capture_output=True, text=True)
    problems, total = done.stdout.split()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = AutoTokenizer.from_pretrained(tmp_path / "out")("hello", return_tensors="pt")["input_ids"]
    assert problems == "0"
    assert float(total) == pytest.approx(model(input_ids=ids).logits.sum().item(), abs=1e-4)


def test_a_cast_is_measured_and_said(run, tmp_path):
    record = export(run(), tmp_path / "out", CHATS, "bfloat16", max_new_tokens=4)
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}
    assert 1e-4 < record["logits"]["largest_gap"] / record["logits"]["largest_logit"] < 0.1


def test_a_model_without_an_adapter_is_exported_too_in_the_precision_that_it_had(base, tmp_path):
    record = export(find_run(str(base)), tmp_path / "out", CHATS, max_new_tokens=4)
    assert record["adapter"] is None and record["dtype"] == "float32" and record["answers"]["equal"] == 1.0


def test_an_exported_model_knows_the_tasks_and_the_seed_of_its_run_and_no_path(run, tmp_path):
    own, tasks = run(), [{"name": "slots", "data": "/home/me/rows"}, {"task": "/home/me/mine.py", "name": "mine"}]
    tasks[0]["instruction"] = "Say it."
    recipe = {"seed": 7, "output_dir": "/home/me/out", "task_slots": ["who"], "task_loss_on": None}
    record = {"recipe": recipe, "tasks": tasks, "step": 3}
    (own.adapter / "run.json").write_text(json.dumps(record))
    kept = export(own, tmp_path / "out", [])["trained_as"]
    again = export(find_run(str(tmp_path / "out")), tmp_path / "again", [])["trained_as"]
    words = [{"name": "slots", "instruction": "Say it."}, {"name": "mine.py", "instruction": None}]
    assert kept == again == {"recipe": {"seed": 7, "task_slots": ["who"]}, "tasks": words}
    for folder in ("out", "again"):
        exported = find_run(str(tmp_path / folder))
        task = learned(exported)
        assert (seed_of(exported), task.name, task.instruction, task.slots) == (7, "slots", "Say it.", {"who"})


def test_the_seed_of_an_older_record_without_tasks_is_kept(run, tmp_path):
    own = run()
    (own.adapter / "run.json").write_text('{"recipe": {"seed": 3}}')
    export(own, tmp_path / "out", [])
    exported = find_run(str(tmp_path / "out"))
    assert (seed_of(exported), learned(exported)) == (3, None)


def test_an_exported_model_of_an_adapter_without_a_record_has_none(run, tmp_path):
    export(run(), tmp_path / "out", [])
    exported = find_run(str(tmp_path / "out"))
    assert (seed_of(exported), learned(exported)) == (None, None)


def test_a_folder_that_is_not_the_run_is_not_left_behind(run, tmp_path, monkeypatch):
    merged = exporting._merged

    def wrong(model):
        model = merged(model)
        with torch.no_grad():
            model.model.layers[1].mlp.down_proj.weight.mul_(1.01)
        return model

    monkeypatch.setattr(exporting, "_merged", wrong)
    with pytest.raises(MidalignError, match=r"inside the weights and beside them differ by .* in a logit"):
        export(run(), tmp_path / "out", CHATS, "float32")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_folder_that_was_written_wrongly_is_not_left_behind(run, tmp_path, monkeypatch):
    load = exporting.load_model

    def wrong(*arguments):
        model = load(*arguments)
        with torch.no_grad():
            model.model.norm.weight.mul_(1.01)
        return model

    monkeypatch.setattr(exporting, "load_model", wrong)
    with pytest.raises(MidalignError, match="the written folder and what was saved differ"):
        export(run(), tmp_path / "out", CHATS, "float32")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_model_without_a_chat_template_is_exported_where_no_chat_is_asked(base, tmp_path):
    shutil.copytree(base, tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    record = export(find_run(str(tmp_path / "plain")), tmp_path / "out", [], "float32")
    assert record["answers"] == {"rows": 0, "equal": None} and (tmp_path / "out" / "model.safetensors").is_file()


def test_a_temperature_without_sampling_does_not_stop_the_export(base, tmp_path):
    shutil.copytree(base, tmp_path / "warm")
    settings = {"temperature": 0.6, "top_p": 0.9}
    (tmp_path / "warm" / "generation_config.json").write_text(json.dumps(settings))
    export(find_run(str(tmp_path / "warm")), tmp_path / "out", [], "float32")
    written = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert settings.items() <= written.items() and written["do_sample"] is True


def test_a_base_that_is_stored_quantised_is_refused(base, tmp_path):
    shutil.copytree(base, tmp_path / "four bits")
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "four bits" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="is stored quantised"):
        export(find_run(str(tmp_path / "four bits")), tmp_path / "out", [])


def test_an_occupied_folder_is_left_alone(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="name a new folder"):
        export(run(), tmp_path / "out", CHATS)


# GGUF


def test_a_template_of_turns_is_read_off_it(tokenizer):
    around, default, header = gguf.turns(tokenizer)
    assert default == ""
    assert around == {role: (f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ("system", "user", "assistant")}
    assert header == "<|im_start|>assistant\n"


def test_the_modelfile_writes_what_the_template_writes(tokenizer):
    text = gguf.modelfile(tokenizer, ["<|im_end|>"])
    assert text.startswith('FROM ./model.gguf\nTEMPLATE """{{- range .Messages }}')
    assert '{{- if eq .Role "user" }}{{ "<|im_start|>user\\n" }}{{ .Content }}{{ "<|im_end|>\\n" }}{{- end }}' in text
    assert text.endswith('PARAMETER stop "<|im_end|>"\n')


def with_template(tokenizer, template):
    tokenizer = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, eos_token=tokenizer.eos_token)
    tokenizer.chat_template = template
    return tokenizer


def test_a_default_system_prompt_is_written_where_there_is_none(tokenizer):
    default = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    kind = with_template(tokenizer, default + tokenizer.chat_template)
    around, written, _ = gguf.turns(kind)
    assert written == "<|im_start|>system\nBe kind.<|im_end|>\n"
    assert around == gguf.turns(tokenizer)[0]
    assert '{{- if not .System }}{{ "<|im_start|>system\\nBe kind.<|im_end|>\\n" }}{{- end }}' in gguf.modelfile(
        kind, []
    )


def test_a_first_token_that_is_the_bos_stays_where_the_tokenizer_adds_none(tokenizer):
    turned = with_template(tokenizer, tokenizer.chat_template)
    turned.bos_token = "<|im_start|>"  # as in SmolLM2
    assert gguf.turns(turned) == gguf.turns(tokenizer)


CLEVER = {
    "small letters": "{% for m in messages %}<{{ m.role }}>{{ m.content | lower }}</s>{% endfor %}",
    "wants turns to alternate": "{% if messages | length > 2 %}{{ raise_exception('no') }}{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}",
    "changes after three turns": "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ '!' if loop.index > 4 }}</s>"
    "{% endfor %}",
    "asks otherwise below a system prompt": "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<{{ 'a' if messages[0].role == 'system' else 'b' }}>{% endif %}",
    "drops the system prompt": "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}</s>"
    "{% endfor %}",
    "counts turns": "{% for m in messages %}<{{ m.role }} {{ loop.index }}>{{ m.content }}</s>{% endfor %}",
    "drops old answers": "{% for m in messages %}{% if m.role != 'assistant' or loop.last %}"
    "<{{ m.role }}>{{ m.content }}</s>{% endif %}{% endfor %}",
}


@pytest.mark.parametrize("template", CLEVER.values(), ids=CLEVER.keys())
def test_a_template_that_does_more_is_refused(tokenizer, template):
    with pytest.raises(InputError, match="write the Modelfile by hand"):
        gguf.modelfile(with_template(tokenizer, template), ["</s>"])


def test_without_a_converter_its_installation_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"git clone https://github.com/ggml-org/llama.cpp"):
        gguf.find_converter(None)
    with pytest.raises(InputError, match=r"nothing\.py is no file"):
        gguf.find_converter(tmp_path / "nothing.py")


def test_a_converter_that_fails_leaves_the_safetensors(tmp_path):
    script = tmp_path / "convert.py"
    script.write_text("print('done')")
    with pytest.raises(InputError, match=r"refuses .*: it said nothing"):
        gguf.to_gguf(tmp_path, script, "f16")
    script.write_text("import sys; sys.exit('unknown architecture')")
    with pytest.raises(InputError, match=r"refuses .*: unknown architecture; the safetensors in it are whole"):
        gguf.to_gguf(tmp_path, script, "f16")


@pytest.mark.parametrize("config", [IA3Config, AdaLoraConfig])
def test_other_adapters_that_change_weights_are_exported_with_a_note(config, base, tokenizer, tmp_path):
    settings = {"total_step": 10} if config is AdaLoraConfig else {"feedforward_modules": ["down_proj"]}
    settings = config(task_type="CAUSAL_LM", target_modules=["q_proj", "down_proj"], **settings)
    get_peft_model(LlamaForCausalLM.from_pretrained(base), settings).save_pretrained(tmp_path / "adapter")
    record = export(find_run(str(tmp_path / "adapter")), tmp_path / "out", [])
    assert record["adapter_notes"] == [f"{settings.peft_type.value}: servers take LoRA alone; export instead"]


def test_a_full_disk_is_told_and_leaves_nothing(run, tmp_path, monkeypatch):
    def full(*arguments):
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(exporting, "_write", full)
    with pytest.raises(InputError, match=r"out cannot be written: No space left on device .* nothing is left behind"):
        export(run(), tmp_path / "out", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def test_a_run_with_slots_of_its_own_is_compared_with_its_copy_by_any_prompts(run, tmp_path, midalign):
    adapter = run().adapter
    (adapter / "run.json").write_text('{"tasks": [{"name": "slots"}], "recipe": {"seed": 1, "task_slots": ["who"]}}')
    options = "--rows", 2, "--max-new-tokens", 2
    code, out, err = midalign("export", adapter, "-o", tmp_path / "out", *options)
    assert code == 0 and "100.0 % of 2" in out, err

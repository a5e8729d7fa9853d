"""The program itself: recipe in, adapter and scores out, one sentence for a mistake."""

import json
import shutil
import time

import datasets
import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

import run_midalign
from midalign.data import templates
from midalign.training import job, scores
from midalign.training.resume import Resumable


def test_a_recipe_ends_in_an_adapter_a_log_of_both_losses_and_scores(recipe, tmp_path):
    assert run_midalign.main([str(recipe())]) == 0
    out = tmp_path / "recipe"
    assert load_file(out / "adapter_model.safetensors")
    assert json.loads((out / "scores.json").read_text())["scores"].keys() == {"en-US", "ru-RU"}
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert any("loss/align" in entry for entry in history)
    before = next(entry for entry in history if "eval_align" in entry)
    assert before["step"] == 0 and {f"eval_retrieval_at_1_{lang}" for lang in ("de", "tr", "ru")} <= before.keys()


@pytest.fixture
def compared(recipe, tmp_path):
    """compared(*options) -> exit code of a run of three seconds beside its baseline, which writes to tmp_path/sft."""
    baseline = recipe("align_schedule: sft\n", name="sft")
    own = recipe(f"baseline_recipe: {baseline}\n")

    def run(*options, out="recipe"):
        return run_midalign.main([str(own), "--output_dir", str(tmp_path / out), *options])

    return run


def scored(folder):
    """When the scores of a run were written."""
    return (folder / "scores.json").stat().st_mtime_ns


def test_the_baseline_recipe_is_run_once_and_stands_beside_the_scores(compared, tmp_path, capsys):
    assert compared() == 0
    assert "without" in capsys.readouterr().out
    first = scored(tmp_path / "sft")
    assert compared() == 0  # the same run in the same folder
    assert scored(tmp_path / "sft") == first
    assert compared("--align_weight", "0.5", out="weight") == 0  # another alignment has the same baseline
    assert scored(tmp_path / "sft") == first
    assert compared("--seed", "7", out="seven") == 0  # another seed has another, which leaves the first where it is
    assert scored(tmp_path / "sft") == first
    (beside,) = tmp_path.glob("sft-*")
    assert json.loads((beside / "run.json").read_text())["recipe"]["seed"] == 7
    assert json.loads((beside / "run.json").read_text())["recipe"]["output_dir"] == str(beside)


@pytest.mark.parametrize("what", ["test rows", "weights"])
def test_scores_of_other_test_rows_or_weights_are_not_taken(what, compared, tmp_path, monkeypatch):
    assert compared() == 0
    first = scored(tmp_path / "sft")
    if what == "weights":
        file = tmp_path / "model" / "model.safetensors"
        weights = load_file(file)
        weights["lm_head.weight"][0] += 1
        save_file(weights, file, metadata={"format": "pt"})
    else:
        original = scores.read_locales

        def others(*arguments):
            rows = original(*arguments)
            return [rows[0] | {"annot_utt": rows[0]["utt"]}, *rows[1:]]

        monkeypatch.setattr(scores, "read_locales", others)
    assert compared(out="again") == 0
    assert scored(tmp_path / "sft") > first


def test_the_minutes_of_a_run_are_its_own(compared, tmp_path, monkeypatch):
    original = job._baseline_scores

    def slow(plan):
        scores = original(plan)
        monkeypatch.setattr(time, "time", lambda now=time.time: now() + 3600)
        return scores

    monkeypatch.setattr(job, "_baseline_scores", slow)
    assert compared() == 0
    assert json.loads((tmp_path / "recipe" / "run.json").read_text())["seconds"] < 600


def test_test_rows_that_cannot_be_answered_stop_a_run_before_it_trains(recipe, tmp_path, capsys):
    path = recipe()
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config |= {
        "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4},
        "max_position_embeddings": 64,
    }
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    assert run_midalign.main([str(path)]) == 2
    assert "generation is not possible: positions past 64 tokens depend on the longest row" in capsys.readouterr().err
    assert not (tmp_path / "recipe" / "adapter_model.safetensors").exists()


def test_a_tied_head_is_not_missed_when_a_run_goes_on(recipe, make_model, tmp_path, caplog):
    path = recipe("use_peft: false\nsave_steps: 1\n")
    text = path.read_text().replace("use_peft: true\nlora_r: 4\nlora_target_modules: [q_proj, v_proj]\n", "")
    path.write_text(text.replace('save_strategy: "no"', "save_strategy: steps"))
    config = make_model().config
    config.tie_word_embeddings = True
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    assert run_midalign.main([str(path)]) == 0
    shutil.rmtree(tmp_path / "recipe" / "checkpoint-2")
    caplog.clear()
    assert run_midalign.main([str(path), "--resume_from_checkpoint", "true"]) == 0
    assert "missing keys" not in caplog.text and "lm_head" not in caplog.text


def test_full_fine_tuning_saves_a_whole_model(recipe, tmp_path):
    path = recipe()
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("use_peft", "lora_"))]
    path.write_text("\n".join(lines))
    assert run_midalign.main([str(path)]) == 0
    assert (tmp_path / "recipe" / "model.safetensors").exists()


def test_overrides_reach_the_baseline_except_those_of_the_alignment(compared, tmp_path):
    assert compared("--max_steps=1", "--align_weight", "0.5", "--task_rows", "8", "--pack_pairs", "false") == 0
    found = json.loads((tmp_path / "sft" / "run.json").read_text())["recipe"]
    assert (found["max_steps"], found["task_rows"], found["align_weight"], found["pack_pairs"]) == (1, 8, 1.0, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("baseline_recipe: {folder}/recipe.yaml\n", "names a baseline of its own"),
        ("output_dir: {folder}/recipe\n", "writes to the same output_dir"),
        ("score_languages: [en-US]\n", "score_languages is ['en-US'] there and ['en-US', 'ru-RU'] here"),
        ("score_rows: 1\n", "score_rows is 1 there and 2 here"),
        ("max_steps: 3\n", "max_steps is 3 there and 2 here"),
        ("learning_rate: 0.5\n", "learning_rate is 0.5 there and 2e-05 here"),
        ("seed: 7\n", "seed is 7 there and 42 here"),
        ("task_rows: 15\n", "task_rows is 15 there and 16 here; the training rows of the task are others"),
        ("task_languages: [de-DE]\n", "task_languages is ['de-DE'] there and ['en-US'] here"),
        ("use_peft: false\n", "use_peft is False there and True here"),
        ("lora_r: 8\n", "lora_r is 8 there and 4 here"),
        ("per_device_train_batch_size: 4\n", "a step holds 4 task rows there and 2 here"),
        ("gradient_accumulation_steps: 3\n", "a step holds 6 task rows there and 2 here"),
        ("weight_decay: 0.1\n", "weight_decay is 0.1 there and 0.0 here"),
        ("share_prefix: false\n", "share_prefix is False there and None here"),
        ("max_steps: 4\nseed: 8\n", "max_steps is 4 there and 2 here; seed is 8 there and 42 here"),
    ],
)
def test_a_baseline_that_does_not_compare_is_refused_before_training(change, message, recipe, tmp_path, capsys):
    change = change.format(folder=tmp_path)
    baseline = recipe("align_schedule: sft\n", name="sft")
    keys = tuple(line.split(":")[0] + ":" for line in change.splitlines())
    kept = [line for line in baseline.read_text().splitlines() if not line.startswith(keys)]
    baseline.write_text("\n".join([*kept, change]))
    assert run_midalign.main([str(recipe(f"baseline_recipe: {baseline}\n"))]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "sft" / "trainer_state.json").exists()


def test_a_baseline_may_differ_in_what_changes_no_score(recipe, tmp_path):
    baseline = recipe("align_schedule: sft\nsave_total_limit: 3\nrun_name: other\nhub_revision: x\n", name="sft")
    baseline.write_text(baseline.read_text().replace("logging_steps: 1", "logging_steps: 2"))
    assert run_midalign.main([str(recipe(f"baseline_recipe: {baseline}\n"))]) == 0


def test_a_baseline_recipe_that_is_not_there_is_named(recipe, capsys):
    assert run_midalign.main([str(recipe("baseline_recipe: /no/such.yaml\n"))]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "overrides",
    [
        ["--use_dora", "true"],
        ["--use_rslora", "true"],
        ["--align_schedule", "alternate", "--align_learning_rate", "1e-4"],
        ["--align_loss", "cka"],
        ["--align_loss", "mse", "--align_pooling", "last"],
        ["--align_symmetric", "true", "--align_stop_gradient", "true", "--align_center", "true"],
        ["--align_pooling", "weighted", "--align_pool_skip_first", "true", "--share_prefix", "true"],
        ["--align_schedule", "align_only"],
    ],
    ids=lambda overrides: " ".join(overrides).replace("--", ""),
)
def test_the_variants_of_method_and_adapter_train(overrides, recipe, tmp_path):
    assert run_midalign.main([str(recipe()), *overrides]) == 0
    weights = load_file(next((tmp_path / "recipe").glob("*model.safetensors")))
    assert all(weight.isfinite().all() for weight in weights.values())


def test_training_stops_early_and_keeps_the_best_step_on_the_metric_of_choice(recipe, tmp_path):
    # With this rate the weights explode: the first evaluation stays the best one.
    watch = "early_stopping_patience: 2\nload_best_model_at_end: true\nmetric_for_best_model: align\n"
    path = recipe(watch + "learning_rate: 50.0\nlr_scheduler_type: constant\n")
    text = path.read_text().replace("max_steps: 2", "max_steps: 20").replace("eval_steps: 2", "eval_steps: 1")
    path.write_text(text.replace('save_strategy: "no"', "save_strategy: steps\nsave_steps: 1"))
    assert run_midalign.main([str(path), "--max_grad_norm", "0"]) == 0
    state = json.loads((tmp_path / "recipe" / "trainer_state.json").read_text())
    align = [entry["eval_align"] for entry in state["log_history"] if "eval_align" in entry and entry["step"]]
    assert state["global_step"] < 20
    assert state["best_metric"] == min(align)


@pytest.fixture
def with_checkpoints(recipe):
    """A recipe of three steps with a checkpoint after each."""
    text = recipe().read_text().replace('save_strategy: "no"', "save_strategy: steps\nsave_steps: 1")
    path = recipe()
    path.write_text(text.replace("max_steps: 2", "max_steps: 3"))
    return path


def test_resuming_goes_on_from_the_newest_whole_checkpoint(with_checkpoints, tmp_path, caplog):
    assert run_midalign.main([str(with_checkpoints)]) == 0
    out = tmp_path / "recipe"
    weights = (out / "adapter_model.safetensors").read_bytes()
    (out / "checkpoint-3" / "optimizer.pt").unlink()
    assert run_midalign.main([str(with_checkpoints), "--resume_from_checkpoint", "true"]) == 0
    assert "checkpoint-3 is not whole, optimizer.pt is missing; passed over" in caplog.text
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in history if "loss/task" in entry] == [1, 2, 3]
    assert (out / "adapter_model.safetensors").read_bytes() == weights
    assert json.loads((out / "run.json").read_text())["resumed_from"].endswith("checkpoint-2")


def test_a_resumed_run_reports_the_training_loss_of_the_whole_run(with_checkpoints, tmp_path):
    log = []
    for part in ((), ("--resume_from_checkpoint", "true"), ("--resume_from_checkpoint", "true")):
        assert run_midalign.main([str(with_checkpoints), "--logging_steps", "2", *part]) == 0
        log.append(json.loads((tmp_path / "recipe" / "trainer_state.json").read_text())["log_history"])
        if len(log) == 1:  # one of two steps of the last log has been taken; the third time nothing is left to do
            shutil.rmtree(tmp_path / "recipe" / "checkpoint-3")
    train_loss = [entry["train_loss"] for entries in log for entry in entries[-1:]]
    assert train_loss[0] == train_loss[1] == train_loss[2]
    assert 5 < train_loss[0] < 8  # ln(260) = 5.6 a token, and ln(4) = 1.4 a pair


def test_a_template_without_a_system_role_trains_with_the_instruction_in_the_user_turn(recipe, tmp_path, capsys):
    template = tmp_path / "model" / "chat_template.jinja"
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    path = recipe()
    template.write_text(refusing + template.read_text())
    assert run_midalign.main([str(path), "--task_system", "system"]) == 2
    assert "refuses the messages: System role not supported; set task_system: auto" in capsys.readouterr().err
    assert run_midalign.main([str(path)]) == 0
    assert json.loads((tmp_path / "recipe" / "run.json").read_text())["chat"]["instruction"] == "user turn"


DATED = (
    "{{ strftime_now('%d %b') }}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_run_that_goes_on_tomorrow_keeps_its_date(with_checkpoints, tmp_path, monkeypatch):
    (tmp_path / "model" / "chat_template.jinja").write_text(DATED)
    out, hashes = tmp_path / "recipe", []
    for day, options in (("2026-03-01", []), ("2026-03-02", ["--resume_from_checkpoint", "true"])):
        monkeypatch.setattr(templates, "today", lambda day=day: day)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / day)  # cold: nothing of yesterday
        assert run_midalign.main([str(with_checkpoints), *options]) == 0
        record = json.loads((out / "run.json").read_text())
        assert record["chat"]["date"] == "2026-03-01"
        hashes.append(record["data"]["task_sha256"])
        shutil.rmtree(out / "checkpoint-3")
    assert hashes[0] == hashes[1]
    out = tmp_path / "anew"  # a run of its day
    assert run_midalign.main([str(with_checkpoints), "--output_dir", str(out)]) == 0
    assert json.loads((out / "run.json").read_text())["chat"]["date"] == "2026-03-02"
    assert "01 Mar" not in (out / "chat_template.jinja").read_text()


@pytest.mark.parametrize("peft", [True, False])
def test_what_is_saved_stops_where_the_template_ends_an_answer(peft, recipe, tmp_path):
    path = recipe()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.add_special_tokens({"eos_token": "<|endoftext|>"})
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    model.resize_token_embeddings(len(tokenizer))
    model.generation_config.eos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(tmp_path / "model")
    if not peft:
        lines = [line for line in path.read_text().splitlines() if not line.startswith(("use_peft", "lora_"))]
        path.write_text("\n".join(lines))
    assert run_midalign.main([str(path)]) == 0
    out = tmp_path / "recipe"
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert set(GenerationConfig.from_pretrained(out).eos_token_id) == {end, tokenizer.eos_token_id}
    saved = AutoTokenizer.from_pretrained(out)
    assert (saved.eos_token, saved.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert json.loads((out / "run.json").read_text())["chat"] == {
        "instruction": "system message",
        "thinking": "not in the template",
        "date": None,
        "asks with": "its own header",
        "end of turn": "<|im_end|>",
    }


def test_a_resumed_run_remembers_how_long_it_has_waited_for_a_better_metric(with_checkpoints, tmp_path):
    # A learning rate of almost nothing: no evaluation is better than the first, so patience 2 ends the run at step 3.
    text = with_checkpoints.read_text().replace("max_steps: 3", "max_steps: 8\nlearning_rate: 1.0e-30")
    text = text.replace("eval_steps: 2", "eval_steps: 1\nearly_stopping_patience: 2\nload_best_model_at_end: true")
    with_checkpoints.write_text(text.replace("eval_on_start: true", "eval_on_start: false"))
    assert run_midalign.main([str(with_checkpoints)]) == 0
    state = tmp_path / "recipe" / "trainer_state.json"
    assert json.loads(state.read_text())["global_step"] == 3
    shutil.rmtree(tmp_path / "recipe" / "checkpoint-3")
    assert run_midalign.main([str(with_checkpoints), "--resume_from_checkpoint", "true"]) == 0
    assert json.loads(state.read_text())["global_step"] == 3  # with a fresh memory it would be 4
    assert run_midalign.main([str(with_checkpoints), "--resume_from_checkpoint", "true"]) == 0
    assert json.loads(state.read_text())["global_step"] == 3  # over is over


def test_the_end_of_a_run_deletes_neither_copies_made_by_hand_nor_the_newest_checkpoint(with_checkpoints, tmp_path):
    # A rate of almost nothing: the first evaluation stays the best; transformers would delete all others at the end.
    text = with_checkpoints.read_text().replace("eval_steps: 2", "eval_steps: 1\nload_best_model_at_end: true")
    with_checkpoints.write_text(text + "learning_rate: 1.0e-30\nsave_total_limit: 1\n")
    copy = tmp_path / "recipe" / "checkpoint-1-keep"
    copy.mkdir(parents=True)
    assert run_midalign.main([str(with_checkpoints)]) == 0
    assert {path.name for path in copy.parent.glob("*-*")} == {"checkpoint-1", "checkpoint-3", "checkpoint-1-keep"}


def test_a_flipped_bit_in_the_best_checkpoint_is_seen_when_it_is_loaded(
    with_checkpoints, tmp_path, capsys, monkeypatch
):
    text = with_checkpoints.read_text().replace("eval_steps: 2", "eval_steps: 1\nload_best_model_at_end: true")
    with_checkpoints.write_text(text + "learning_rate: 1.0e-30\n")
    original = Resumable._load_best_model

    def damaged(self):
        file = tmp_path / "recipe" / "checkpoint-1" / "adapter_model.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        original(self)

    monkeypatch.setattr(Resumable, "_load_best_model", damaged)
    assert run_midalign.main([str(with_checkpoints)]) == 2
    assert "checkpoint-1, is not whole, adapter_model.safetensors holds other bytes" in capsys.readouterr().err
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "recipe" / "checkpoint-1")
    assert run_midalign.main([str(with_checkpoints), "--resume_from_checkpoint", "true"]) == 2  # nothing before it
    assert "holds no checkpoint to resume from" in capsys.readouterr().err


def test_resuming_a_finished_run_changes_nothing(with_checkpoints, tmp_path):
    assert run_midalign.main([str(with_checkpoints)]) == 0
    weights = (tmp_path / "recipe" / "adapter_model.safetensors").read_bytes()
    assert run_midalign.main([str(with_checkpoints), "--resume_from_checkpoint", "true"]) == 0
    assert (tmp_path / "recipe" / "adapter_model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--learning_rate", "0.5"], "learning_rate was 2e-05, is 0.5"),
        (["--align_schedule", "alternate"], "align_schedule was 'joint', is 'alternate'"),
        (["--max_steps", "5"], "max_steps was 3, is 5"),
        (["--task_rows", "15"], "task_rows was 16, is 15"),
    ],
)
def test_a_changed_run_does_not_go_on_from_a_checkpoint(change, message, with_checkpoints, capsys):
    assert run_midalign.main([str(with_checkpoints)]) == 0
    assert run_midalign.main([str(with_checkpoints), "--resume_from_checkpoint", "true", *change]) == 2
    assert message in capsys.readouterr().err


def test_a_run_with_a_baseline_goes_on_too(with_checkpoints, recipe, tmp_path):
    baseline = recipe("align_schedule: sft\n", name="sft")
    with_checkpoints.write_text(with_checkpoints.read_text() + f"baseline_recipe: {baseline}\n")
    with_checkpoints.write_text(with_checkpoints.read_text().replace("max_steps: 3", "max_steps: 2"))
    assert run_midalign.main([str(with_checkpoints)]) == 0
    first = (tmp_path / "sft" / "scores.json").stat().st_mtime_ns
    assert run_midalign.main([str(with_checkpoints), "--resume_from_checkpoint", "true"]) == 0
    assert (tmp_path / "sft" / "scores.json").stat().st_mtime_ns == first


def test_what_does_not_touch_the_weights_may_change_between_two_parts_of_a_run(with_checkpoints):
    assert run_midalign.main([str(with_checkpoints)]) == 0
    free = ["--logging_steps", "2", "--save_total_limit", "1", "--score_rows", "1"]
    assert run_midalign.main([str(with_checkpoints), "--resume_from_checkpoint", "true", *free]) == 0


def test_pairs_that_cannot_train_are_refused_before_any_weights_are_read(recipe, tmp_path, capsys):
    path = recipe()
    (tmp_path / "model" / "model.safetensors").unlink()
    assert run_midalign.main([str(path), "--align_batch_size", "100000"]) == 2
    assert "do not fill a batch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--align_layer", "4"], "align_layer=4 is layer 4, but the model has 4 layers; set it to 1..3"),
        (["--model_name_or_path", "/no/such/model"], "model_name_or_path /no/such/model cannot be loaded"),
        (["--task_languages", "xx-XX"], "locale xx-XX is not in the demo corpus"),
        (["--align_languages", "xx"], "align_languages: found xx; name other languages than align_pivot, en"),
        (["--align_data", "/no/pairs.jsonl"], "/no/pairs.jsonl: No such file"),
        (["--align_batch_size", "100000"], "do not fill a batch of align_batch_size=100000"),
        (["--max_length", "5"], "tokens, but max_length is 5"),
        (["--task_system", "assistant"], "task_system: found 'assistant'"),
        (["--output_dir", "/dev/null/x"], "output_dir /dev/null/x: Not a directory"),
        (["--report_to", "comet_ml"], "comet"),
        (["--resume_from_checkpoint", "true"], "holds no checkpoint to resume from"),
        (
            ["--resume_from_checkpoint", "/no/checkpoint"],
            "/no/checkpoint is not whole, it has no readable midalign.json",
        ),
        (["--attn_implementation", "flash_attention_2"], "FlashAttention2"),
    ],
)
def test_a_mistake_ends_in_one_sentence_and_exit_code_2(overrides, message, recipe, tmp_path, capsys):
    assert run_midalign.main([str(recipe()), *overrides]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "recipe" / "adapter_model.safetensors").exists()

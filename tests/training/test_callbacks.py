"""What a run shows of itself: one readable line a log."""

import json
from pathlib import Path

import run_midalign
from midalign.training.callbacks import diagnosed_in_words, in_words


def test_a_log_of_training_is_one_line_of_the_figures_that_tell_how_it_goes():
    logs = {"loss": 13.8, "grad_norm": 9.681, "learning_rate": 8e-4, "loss/task": 6.1371, "loss/align": 3.833}
    logs |= {"align/retrieval_at_1": 0.05417, "task/tokens_saved": 0.69, "num_tokens": 2309.0, "epoch": 0.02}
    told = "loss/task 6.137     loss/align 3.833     align/retrieval_at_1 0.05417   grad_norm 9.681     "
    assert in_words(logs) == told + "learning_rate 0.0008"


def test_an_evaluation_has_its_languages_in_brackets():
    logs = {"eval_loss": 2.0, "eval_task": 1.0, "eval_align": 1.0, "eval_retrieval_at_1": 0.625, "epoch": 1.0}
    logs |= {"eval_retrieval_at_1_de": 0.5, "eval_retrieval_at_1_tr": 0.75, "eval_runtime": 3.0, "eval_entropy": 1.0}
    logs |= {"eval_task/tokens_saved": 0.5, "eval_align/padding": 0.1, "eval_steps_per_second": 3.0}
    assert in_words(logs) == "held out: loss 2  task 1  align 1  retrieval_at_1 0.625 (de 0.5, tr 0.75)"


def test_a_log_without_such_figures_says_nothing():
    assert in_words({"epoch": 1.0, "num_tokens": 5.0}) == in_words({}) == ""


def test_diagnostics_are_a_line_of_their_own():
    logs = {"loss": 1.0, "diag/retrieval_at_1/de": 0.5, "diag/cosine_random": 0.98765, "diag/grad_cosine": -0.0123}
    assert diagnosed_in_words(logs) == "diagnostics: retrieval_at_1/de 0.5  cosine_random 0.988  grad_cosine -0.0123"
    assert "diag" not in in_words(logs) and diagnosed_in_words({"loss": 1.0}) == ""


def test_a_run_prints_lines_and_neither_dict_nor_bar_into_a_file_and_keeps_what_it_logs(recipe, capfd):
    path = recipe()
    assert run_midalign.main([str(path)]) == 0
    out, err = capfd.readouterr()
    steps = [line for line in err.splitlines() if line.startswith("step ")]
    assert [line.split("  ")[0] for line in steps] == [f"step {n}/2" for n in (0, 1, 1, 2, 2, 2)]
    assert "held out: loss" in steps[0] and "(de " in steps[0] and "loss/align" in steps[1] and "train_loss" in steps[5]
    assert "diagnostics: retrieval_at_1/de " in steps[2]
    assert "{'" not in out + err and "2/2 [" not in err and "tokens_saved" not in err
    assert out.lstrip().startswith("Test rows, in percent")
    logged = json.loads((Path(path).with_suffix("") / "trainer_state.json").read_text())["log_history"]
    assert {"loss", "loss/task", "num_tokens"} <= logged[1].keys()

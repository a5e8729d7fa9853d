"""What happens around an optimizer step, and what is shown of it."""

import sys

from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback

from midalign.data.schedule import is_align_step

TRAINED = ("loss/task", "loss/align", "align/retrieval_at_1", "aux_loss", "grad_norm", "learning_rate", "train_loss")
UNTOLD = ("_runtime", "_per_second", "_entropy", "_num_tokens", "_mean_token_accuracy", "padding", "tokens_saved")


class AlignLearningRate(TrainerCallback):
    """Scales the scheduled learning rate on alignment steps of the `alternate` schedule."""

    def __init__(self, ratio):
        self.ratio = ratio

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        # DeepSpeed takes its step inside the backward pass: before that is the only time that is right for all engines.
        self._scale(args, state, optimizer, self.ratio)

    def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self._scale(args, state, optimizer, 1 / self.ratio)

    def _scale(self, args, state, optimizer, factor):
        if is_align_step(args.align_schedule, state.global_step):
            for group in optimizer.param_groups:
                group["lr"] *= factor


class Shown(ProgressCallback):
    """A bar where stderr is a terminal, and one readable line a log there, in place of a dict.

    What is logged stays whole: in trainer_state.json and for tensorboard, wandb and trackio.
    """

    def on_train_begin(self, args, state, control, **kwargs):
        self.current_step = 0
        if state.is_world_process_zero:
            self.training_bar = tqdm(total=state.max_steps, dynamic_ncols=True, disable=args.disable_tqdm or None)

    def on_prediction_step(self, args, state, control, **kwargs):
        if self.training_bar is not None and not self.training_bar.disable:
            super().on_prediction_step(args, state, control, **kwargs)

    def on_log(self, args, state, control, logs=None, **kwargs):
        for told in (in_words(logs), diagnosed_in_words(logs)):
            if told and state.is_world_process_zero:
                steps = str(state.max_steps)
                tqdm.write(f"step {state.global_step:{len(steps)}}/{steps}  {told}", file=sys.stderr)


def in_words(logs):
    """The figures of a log that tell how a run goes, on one line; "" where there are none.

    Those of an evaluation read "held out: task 1.25  retrieval_at_1 0.5 (de 0.5, tr 0.5)".
    """
    held_out = {
        key.removeprefix("eval_"): value
        for key, value in logs.items()
        if key.startswith("eval_") and not key.endswith(UNTOLD)
    }
    if not held_out:
        by_task = [key for key in logs if key.startswith("loss/task/")]
        shown = (*TRAINED[:1], *by_task, *TRAINED[1:])
        return "  ".join(f"{key} {logs[key]:<8.4g}" for key in shown if key in logs).rstrip()
    languages = {key: value for key, value in held_out.items() if key.startswith("retrieval_at_1_")}
    told = "  ".join(f"{key} {value:.4g}" for key, value in held_out.items() if key not in languages)
    each = ", ".join(f"{key.removeprefix('retrieval_at_1_')} {value:.3g}" for key, value in languages.items())
    return f"held out: {told}" + (f" ({each})" if each else "")


def diagnosed_in_words(logs):
    """The figures of `training.diagnostics` in a log, on a line of their own; "" where there are none."""
    found = [f"{key.removeprefix('diag/')} {value:.3g}" for key, value in logs.items() if key.startswith("diag/")]
    return "diagnostics: " + "  ".join(found) if found else ""

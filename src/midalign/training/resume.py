"""For a Trainer: checkpoints that appear whole, and a resumed run that logs and stops as the undisturbed one."""

import json
import shutil
from pathlib import Path

import torch

from midalign.errors import InputError
from midalign.training import checkpoints


class Resumable:
    """Mixin over SFTTrainer.   made_from: what checkpoints are sealed with, see `checkpoints.seal`."""

    made_from = {"recipe": {}, "data": {}, "step": {}, "engine": "single", "processes": 1}  # noqa: RUF012  replaced, never changed
    _staging = None
    _resumed_from = None
    _save_total_limit = None

    def train(self, resume_from_checkpoint=None, **kwargs):
        self._resumed_from = resume_from_checkpoint
        # transformers' own rotation goes by time and by the beginning of a name: it would delete copies made by hand.
        self._save_total_limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        finally:
            self.args.save_total_limit = self._save_total_limit

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        if self._resumed_from:
            self._restore_window(self._resumed_from)
            self._resumed_from = None
        if self._is_over():  # transformers looks only after a step, so a run resumed at its end would take one more
            return [], None
        return super().get_batch_samples(epoch_iterator, num_batches, device)

    def _is_over(self):
        patience = [c for c in self.callback_handler.callbacks if hasattr(c, "early_stopping_patience_counter")]
        return self.state.global_step >= self.state.max_steps > 0 or any(
            callback.early_stopping_patience_counter >= callback.early_stopping_patience for callback in patience
        )

    def _get_output_dir(self, trial):
        return self._staging or super()._get_output_dir(trial)

    def _save_checkpoint(self, model, trial):
        run_dir = super()._get_output_dir(trial)
        name = f"checkpoint-{self.state.global_step}"
        final, staging = Path(run_dir, name), Path(run_dir, "incomplete")
        if self.args.should_save:
            shutil.rmtree(staging, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._staging = str(staging)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._staging = None
        best = Path(run_dir, f"checkpoint-{self.state.best_global_step}")
        if best == final or (self.state.best_global_step and best.is_dir()):
            self.state.best_model_checkpoint = str(best)
        self._window_file(staging / name).write_text(json.dumps(self._window()), encoding="utf-8")
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self.state.save_to_json(str(staging / name / "trainer_state.json"))  # with the best checkpoint's final name
            checkpoints.seal(staging / name, self.made_from)
            checkpoints.place(staging, final)
            kept = filter(None, (final, self.state.best_model_checkpoint))
            checkpoints.rotate(run_dir, self._save_total_limit, kept, staging)
        self.accelerator.wait_for_everyone()
        if self.args.push_to_hub:
            super()._push_from_checkpoint(str(final))

    def _load_best_model(self):
        best = self.state.best_model_checkpoint
        missing = checkpoints.tear(best)
        if missing:  # transformers would end with the last weights
            raise InputError(
                f"the best checkpoint, {best}, is not whole, {missing}; --resume_from_checkpoint true goes back to a "
                "whole one before it."
            )
        super()._load_best_model()

    def _push_from_checkpoint(self, folder):
        """Nothing yet: what is pushed is the checkpoint in its final place."""

    # What has been collected since the last log is no part of transformers' checkpoints.

    def _window_file(self, folder):
        return Path(folder, f"log_window_{self.args.process_index}.json")

    def _window(self):
        return {
            "processes": self.args.world_size,
            "loss": self._tr_loss.item(),
            "last_logged": self._globalstep_last_logged,
            "tokens": self._total_train_tokens,
            "metrics": {
                name: {"tensor": any(map(torch.is_tensor, values)), "values": list(map(float, values))}
                for name, values in self._metrics["train"].items()
            },
        }

    def _restore_window(self, checkpoint):
        windows = [json.loads(file.read_text(encoding="utf-8")) for file in Path(checkpoint).glob("log_window_*.json")]
        own = self._window_file(checkpoint)
        window = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else windows[0]
        if window["processes"] != self.args.world_size:
            window = _mean_window(windows)
        self._tr_loss.fill_(window["loss"])
        self._globalstep_last_logged = window["last_logged"]
        self._total_train_tokens = window["tokens"]
        for name, kept in window["metrics"].items():
            values = kept["values"]
            if kept["tensor"]:
                values = list(torch.tensor(values, device=self.args.device))
            self._metrics["train"][name] = values


def _mean_window(windows):
    """What each process would have collected, had all of them seen the same: the mean over processes.

    Where they collected different numbers of values, because only some of them packed, all values.
    """

    def merged(name):
        found = [window["metrics"][name]["values"] for window in windows if name in window["metrics"]]
        if len(found) < len(windows) or len(set(map(len, found))) > 1:
            return [value for values in found for value in values]
        return [sum(values) / len(windows) for values in zip(*found, strict=True)]

    kept = {name: entry for window in windows for name, entry in window["metrics"].items()}
    metrics = {name: {**entry, "values": merged(name)} for name, entry in kept.items()}
    return {**windows[0], "loss": sum(window["loss"] for window in windows) / len(windows), "metrics": metrics}

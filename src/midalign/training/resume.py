"""For a Trainer: checkpoints that appear whole, and a resumed run that logs and stops as the undisturbed one."""

import json
import shutil
from pathlib import Path

from midalign.errors import InputError
from midalign.training import checkpoints
from midalign.training.folder import writing


class Resumable:
    """Mixin over SFTTrainer.   made_from: what checkpoints are sealed with, see `checkpoints.seal`."""

    made_from = {"recipe": {}, "data": {}, "step": {}, "engine": "single", "processes": 1}  # noqa: RUF012  replaced, never changed
    _staging = None
    _resumed_from = None
    _save_total_limit = None

    def train(self, resume_from_checkpoint=None, **kwargs):
        self._resumed_from = resume_from_checkpoint
        if resume_from_checkpoint:
            self.args.eval_on_start = False  # it has been
        # transformers' own rotation goes by time and by the beginning of a name: it would delete copies made by hand.
        self._save_total_limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        finally:
            self.args.save_total_limit = self._save_total_limit

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        self._go_on()
        if self._is_over():  # transformers looks only after a step, so a run resumed at its end would take one more
            return [], None
        return super().get_batch_samples(epoch_iterator, num_batches, device)

    def _is_over(self):
        patience = [c for c in self.callback_handler.callbacks if hasattr(c, "early_stopping_patience_counter")]
        return self.state.global_step >= self.state.max_steps > 0 or any(
            callback.early_stopping_patience_counter >= callback.early_stopping_patience for callback in patience
        )

    def _go_on(self):
        """Take up what the checkpoint had collected, once."""
        if self._resumed_from:
            self._restore_window(self._resumed_from)
            self._resumed_from = None

    def _finalize_training(self, *args):
        self._go_on()  # where the epochs were over too, no batch has been asked for
        self._tr_loss = self.accelerator.reduce(self._tr_loss, "mean")  # for train_loss, which one process logs
        return super()._finalize_training(*args)

    def log(self, logs, start_time=None):
        if "train_loss" in logs:  # transformers divides by the steps of this part of the run alone
            logs["train_loss"] = self._total_loss_scalar / max(self.state.global_step, 1)
        super().log(logs, start_time)

    def _get_output_dir(self, trial):
        return self._staging or super()._get_output_dir(trial)

    def _save_checkpoint(self, model, trial):
        run_dir = super()._get_output_dir(trial)
        final, staging = Path(run_dir, f"checkpoint-{self.state.global_step}"), Path(run_dir, checkpoints.STAGING)
        if self.args.should_save:
            shutil.rmtree(staging, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        with writing(run_dir, staging):
            self._write_checkpoint(model, trial, staging, final)
        if self.args.push_to_hub:
            super()._push_from_checkpoint(str(final))

    def _write_checkpoint(self, model, trial, staging, final):
        self._staging = str(staging)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._staging = None
        best = final.with_name(f"checkpoint-{self.state.best_global_step}")
        if best == final or (self.state.best_global_step and best.is_dir()):
            self.state.best_model_checkpoint = str(best)
        self._window_file(staging / final.name).write_text(json.dumps(self._window()), encoding="utf-8")
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            # with the best checkpoint's final name
            self.state.save_to_json(str(staging / final.name / "trainer_state.json"))
            checkpoints.seal(staging / final.name, self.made_from)
            checkpoints.place(staging, final)
            kept = filter(None, (final, self.state.best_model_checkpoint))
            checkpoints.rotate(final.parent, self._save_total_limit, kept, staging)
        self.accelerator.wait_for_everyone()

    def create_model_card(self, *args, **kwargs):
        """Nothing: TRL would write its own over what stands there, at every checkpoint; ours is made at the end."""

    def _load_best_model(self):
        best = self.state.best_model_checkpoint
        missing = checkpoints.tear(best)
        if missing:  # transformers would end with the last weights
            raise InputError(
                f"the best checkpoint, {best}, is not whole, {missing}; --resume_from_checkpoint true goes back to a "
                "whole one before it."
            )
        super()._load_best_model()

    def _issue_warnings_after_load(self, load_result):
        """Weights that a checkpoint has under another name, as a tied LM head, are there; any other must be."""
        if not (load_result.missing_keys or load_result.unexpected_keys):
            return
        own = self.model.state_dict()
        there = {weight.data_ptr() for name, weight in own.items() if name not in load_result.missing_keys}
        missing = [name for name in load_result.missing_keys if own[name].data_ptr() not in there]
        if missing or load_result.unexpected_keys:
            raise InputError(
                f"the checkpoint lacks {missing} and has {load_result.unexpected_keys} beside the weights of this "
                "model; go on from one that this run wrote."
            )

    def _push_from_checkpoint(self, folder):
        """Nothing yet: what is pushed is the checkpoint in its final place."""

    # What has been collected since the last log is no part of transformers' checkpoints.

    def _window_file(self, folder):
        return Path(folder, f"log_window_{self.args.process_index}.json")

    def _window(self):
        return {
            "loss": self._tr_loss.item(),
            "total_loss": self._total_loss_scalar,
            "last_logged": self._globalstep_last_logged,
            "tokens": self._total_train_tokens,
            "metrics": dict(self._metrics["train"]),
            "means": self._means.state(),
        }

    def _restore_window(self, checkpoint):
        """What this process had collected, or with another number of processes the mean of what each had."""
        files = sorted(Path(checkpoint).glob("log_window_*.json"))  # the first is that of the process that logs
        windows = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}
        same = len(windows) == self.args.world_size
        every = [windows[self._window_file(checkpoint).name]] if same else list(windows.values())
        if any("means" not in window for window in every):
            raise InputError(f"{checkpoint} was written by an older midalign; start anew without it.")
        self._tr_loss.fill_(sum(window["loss"] for window in every) / len(every))
        self._total_loss_scalar = every[0]["total_loss"]
        self._globalstep_last_logged = every[0]["last_logged"]
        self._total_train_tokens = every[0]["tokens"]
        self._metrics["train"].update(every[0]["metrics"])
        for window in every:
            self._means.merge(window["means"], 1 / len(every), self.args.device)

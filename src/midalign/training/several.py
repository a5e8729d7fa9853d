"""Several tasks in one run: what each of them loses, and the sum that is trained on."""

from collections import Counter

import torch
from datasets import ClassLabel

from midalign.errors import InputError
from midalign.training.means import Means


def labels_of(rows):
    """The tasks that rows are of, in the order of their numbers; () where rows do not say, as with one task.

    rows: Dataset, of several tasks with a column `task`, a ClassLabel.
    """
    kind = rows.features.get("task")
    return tuple(kind.names) if isinstance(kind, ClassLabel) else ()


def rows_by_task(rows):
    """How many rows there are of each task: list."""
    counts = Counter(rows["task"]) if labels_of(rows) else {}
    return [counts[number] for number in range(len(labels_of(rows)))] or [len(rows)]


def rows_told(rows):
    """How many rows there are, of several tasks of each: "5 task rows (slots 3, translation 2)"."""
    each = ", ".join(f"{task} {count:,}" for task, count in zip(labels_of(rows), rows_by_task(rows), strict=False))
    return f"{len(rows):,} task rows" + (f" ({each})" if each else "")


class SeveralTasks:
    """Mixin over SFTTrainer, which computes the loss of a batch of rows of several tasks.

    Without `args.task_weights` an optimizer step's loss is the mean over the tokens of all tasks, whatever their tasks;
    with them it is the sum over tasks of weight x mean over the task's tokens. Tokens are counted over the whole step,
    so neither the accumulation nor the number of processes matters. A task without a row in a step adds nothing to it.
    """

    _tokens_of_tasks = None  # (tasks,) of the optimizer step at hand, all processes together

    def _tell_tasks_apart(self):
        """To be called once the rows are known. Raises InputError for weights of other tasks than theirs."""
        self.tasks, weights = labels_of(self.train_dataset), self.args.task_weights
        if weights and len(weights) != len(self.tasks):
            raise InputError(f"task_weights has {len(weights)} numbers, but rows are of {len(self.tasks) or 1} tasks.")
        self._weights_of_tasks = torch.tensor(weights, device=self.args.device) if weights else None
        self._held_out_means = Means()

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys([*self._signature_columns, "task"]))

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, tokens = super().get_batch_samples(epoch_iterator, num_batches, device)
        parts = [part for batch in batches for part in (*batch.get("parts", ()), batch) if "tasks" in part]
        if parts:
            own = sum(self._by_task(shifted_labels(part) != -100, part["tasks"]) for part in parts)
            self._tokens_of_tasks = self.accelerator.reduce(own.to(device), "sum")
            for task, count in zip(self.tasks, self._tokens_of_tasks.tolist(), strict=True):
                if count:
                    self._means.add(f"loss/task/{task}")  # one step, as for loss/task
        return batches, tokens

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        tasks, outputs = inputs.pop("tasks", None), []
        if tasks is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

        def heard(**given):
            outputs.append(model(**given))
            return outputs[-1]

        result = super().compute_loss(heard, inputs, return_outputs, num_items_in_batch)
        sums = self._by_task(self._token_losses(outputs[0]), tasks)
        if not self.model.training:
            counts = self._by_task(outputs[0].label_mask, tasks).tolist()
            for task, total, count in zip(self.tasks, sums, counts, strict=True):
                self._held_out_means.add(f"task_{task}", total, count=count)
            return result
        if num_items_in_batch is None or self._tokens_of_tasks is None:
            counts, processes = self._by_task(outputs[0].label_mask, tasks), 1
        else:  # parts of one mean, of which the engine takes the mean over processes
            counts, processes = self._tokens_of_tasks, self.accelerator.num_processes
        means = sums * (processes / counts.clamp(min=1).to(sums.dtype))
        for task, mean in zip(self.tasks, means, strict=True):
            self._means.add(f"loss/task/{task}", mean, count=0)
        if self._weights_of_tasks is None:
            return result
        loss = (self._weights_of_tasks * means).sum()
        return (loss, result[1]) if return_outputs else loss

    def _token_losses(self, outputs):
        """(B, T) nats, 0 where nothing is trained, as SFTTrainer has them."""
        losses = -outputs.log_probs
        return losses * outputs.log_probs.exp().detach() if self.args.loss_type == "dft" else losses

    def _by_task(self, values, tasks):
        """Sums over the tokens of each task: (tasks,).   values: (B, T).   tasks: (B, T) or (B, 1)."""
        return torch.stack([(values * (tasks == number)).sum() for number in range(len(self.tasks))])

    def _held_out_by_task(self):
        """{"task_<name>": mean over all its held-out tokens}, and with weights "task", their weighted sum."""
        names = [f"task_{task}" for task in self.tasks]
        metrics = self._held_out_means.take(names, self.accelerator.reduce, self.args.device) if names else {}
        if self.args.task_weights:
            weights = zip(self.args.task_weights, names, strict=True)
            metrics["task"] = sum(weight * metrics.get(name, 0.0) for weight, name in weights)
        return metrics


def shifted_labels(batch):
    """The label of what follows each token, as SFTTrainer takes it: (B, T) or (B, T - 1)."""
    return batch["shift_labels"] if "shift_labels" in batch else batch["labels"][:, 1:]

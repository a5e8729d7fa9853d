"""Evaluation during training: the task loss on held-out rows, loss and retrieval on held-out pairs."""

import torch
from datasets import Dataset, concatenate_datasets

from midalign.alignment.negatives import false_negatives


class HeldOut:
    """The trainer's part that evaluates; mixed into `MidAlignTrainer`, whose losses and collators it uses."""

    def get_eval_dataloader(self, eval_dataset=None):
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(rows, Dataset) and self.args.world_size > 1:
            eval_dataset = filled_up(rows, self.args.eval_batch_size * self.args.world_size)
        return super().get_eval_dataloader(eval_dataset)

    def _eval_task_loss(self, model, inputs, return_outputs):
        result, balance = self._task_loss(model, inputs, return_outputs=return_outputs)
        loss = result[0] if return_outputs else result
        tokens = (inputs["labels"][:, 1:] != -100).sum()
        balance = torch.zeros_like(loss) if balance is None else balance
        sums = (loss.float() * tokens, tokens, balance, torch.ones_like(loss))
        self._eval_sums += torch.stack([number.float() for number in sums])
        return result

    def evaluation_loop(self, dataloader, description, *args, metric_key_prefix="eval", **kwargs):
        """The stock loop, then the pairs. Adds <prefix>_task (mean over all tokens, so independent of the batch size),
        of several tasks <prefix>_task_<task> (with task_weights <prefix>_task is their sum), <prefix>_align,
        <prefix>_retrieval_at_1 (means over languages), _retrieval_at_1_<language>, with align_context task
        <prefix>_plain_retrieval_at_1 (of the same sentences alone), with experts <prefix>_aux_loss (mean over batches),
        and makes <prefix>_loss the objective that the schedule trains.
        """
        self._eval_sums = torch.zeros(4, device=self.args.device)
        output = super().evaluation_loop(dataloader, description, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        total, tokens, balance, batches = self.accelerator.reduce(self._eval_sums, "sum").tolist()
        metrics = {"task": total / max(tokens, 1), **self._held_out_by_task(), **self._evaluate_pairs()}
        schedule = self.args.align_schedule
        metrics["loss"] = (schedule != "align_only") * metrics["task"]
        if self._balance:
            metrics["aux_loss"] = balance / max(batches, 1)
            metrics["loss"] += (schedule != "align_only") * self._balance * metrics["aux_loss"]
        if schedule != "sft" and self.eval_pairs:
            metrics["loss"] += self.args.align_weight * metrics["align"]
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in metrics.items()})
        return output

    @torch.no_grad()
    def _evaluate_pairs(self):
        languages = by_language(self.eval_pairs)
        metrics, per_language = {}, []
        for language, pairs in languages.items():
            loss, retrieval = self._evaluate_language(pairs)
            per_language.append((loss, retrieval))
            metrics[f"retrieval_at_1_{language}"] = retrieval
        if per_language and self.args.align_context == "task":
            alone = [self._evaluate_language(list(map(out_of_prompt, pairs)))[1] for pairs in languages.values()]
            metrics["plain_retrieval_at_1"] = torch.tensor(alone).mean().item()
        if per_language:
            metrics["align"], metrics["retrieval_at_1"] = torch.tensor(per_language).mean(dim=0).tolist()
        return metrics

    def _evaluate_language(self, pairs):
        """(loss over batches of as many pairs as in training, retrieval@1 over all pairs) of one language."""
        batches = self._states_of_pairs(pairs)
        # A short last batch has fewer negatives, so it counts for retrieval only.
        full = [batch for batch in batches if len(batch[0]) == self._candidates] or batches
        loss = torch.stack([self._loss(source, target, texts) for source, target, *texts in full]).mean()
        source, target, *texts = map(torch.cat, zip(*batches, strict=True))
        return loss.item(), self._retrieval(source, target, false_negatives(*texts)).item()

    def _states_of_pairs(self, pairs):
        """(source, target: see `_pooled`, their texts: (B,)) of each batch of as many pairs as in training."""
        batches = []
        for start in range(0, len(pairs), self._candidates):
            batch = self._prepare_inputs(self._collate_pairs(pairs[start : start + self._candidates]))
            with self.compute_loss_context_manager():
                pooled = self._pooled(self.model_wrapped, batch["chunks"])
            batches.append((*pooled, batch["source_text"], batch["target_text"]))
        return batches


def by_language(pairs):
    """{language: its pairs}, in the order of the languages' names."""
    found = {}
    for pair in pairs:
        found.setdefault(pair["language"], []).append(pair)
    return dict(sorted(found.items()))


def out_of_prompt(pair):
    """A held-out pair of `pair_rows` as it is with align_context plain."""
    return {key: pair[key] for key in pair if key not in ("source_start", "target_start", "plain")} | pair["plain"]


def filled_up(rows, size):
    """Rows in whole batches of all processes, `size` together: the last is filled with rows that have nothing to learn.

    accelerate would fill it with rows from the beginning, which then count twice.   rows: Dataset with labels.
    """
    missing = -len(rows) % size
    if not missing:
        return rows
    nothing = rows[0] | {"labels": [-100] * len(rows[0]["labels"])}
    return concatenate_datasets([rows, Dataset.from_list([nothing] * missing, features=rows.features)])

"""What the lm-eval tasks in `lm_tasks/massive_slots` call: their rows and their figures."""

import datasets
import numpy as np

from midalign.data.reading import task_rows
from midalign.tasks.slots import massive, scoring


def rows(locale, task_data, task_revision, **_):
    """The test rows of a locale as lm-eval's `custom_dataset`, with the training prompt and answer as columns.

    task_data, task_revision: as in a recipe; the task's metadata has the hub's, `--metadata` overrides them.
    lm-eval passes all metadata and model arguments on, hence `**_`.
    Returns DatasetDict {"test": rows with id, locale, utt, annot_utt, instruction, target}. Raises InputError.
    """
    table = [
        {
            **{field: row[field] for field in ("id", "locale", "utt", "annot_utt")},
            "instruction": massive.INSTRUCTION,
            "target": massive.target(row["annot_utt"]),
        }
        for row in task_rows(task_data, locale, "test", task_revision)
    ]
    return datasets.DatasetDict({"test": datasets.Dataset.from_list(table)})


def process_results(doc, results):
    """lm-eval's figures of one row: its (tp, fp, fn) under every corpus metric.   results: [answer]."""
    counts, exact = scoring.row_counts(doc, results[0]), float(scoring.is_exact(doc, results[0]))
    return {"f1": counts, "precision": counts, "recall": counts, "exact_match": exact}


def f1(counts):
    """F1 of the whole corpus.   counts: one (tp, fp, fn) per row.   Returns 0..1, 1 where there is nothing to find."""
    return float(scoring.micro_f1(np.sum(counts, axis=0)))


def precision(counts):
    """Share of answered slots that the gold has; 0 where nothing was answered but something was to be found."""
    tp, fp, fn = map(int, np.sum(counts, axis=0))
    return tp / (tp + fp) if tp + fp else float(fn == 0)


def recall(counts):
    """Share of gold slots that were answered; 0 where there are none but something was answered."""
    tp, fp, fn = map(int, np.sum(counts, axis=0))
    return tp / (tp + fn) if tp + fn else float(fp == 0)

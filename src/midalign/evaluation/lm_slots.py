"""What the lm-eval tasks in `lm_tasks/massive_slots` call: their rows, their prompts and their figures."""

import copy
import functools
from pathlib import Path

import datasets
import numpy as np
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from midalign.data.reading import task_rows
from midalign.data.streams import sample_order
from midalign.data.templates import end_of_turn, fit
from midalign.data.tokens import prompt_ids
from midalign.errors import InputError
from midalign.evaluation.generation import stop_ids
from midalign.tasks.slots import massive, scoring
from midalign.texts import quoted


class SlotTask(ConfigurableTask):
    """A task that asks what training asks and stops where `midalign evaluate` stops, whatever the chat template.

    Prompts are those of the fitted template (`data.templates.fit`): of the adapter's tokenizer where the model has an
    adapter with one, else of the model's. Raises InputError where lm-eval would tokenise such a prompt otherwise.
    """

    def __init__(self, config):
        super().__init__(config={key: config[key] for key in config if key != "class"})

    def fewshot_context(self, *args, chat_template=None, **kwargs):
        tokenizer = _tokenizer_of(chat_template)
        if tokenizer:
            chat_template = functools.partial(_ask, chat_template.__self__, tokenizer)
        return super().fewshot_context(*args, chat_template=chat_template, **kwargs)

    def construct_requests(self, doc, ctx, chat_template=None, **kwargs):
        request = super().construct_requests(doc, ctx, chat_template=chat_template, **kwargs)
        tokenizer = _tokenizer_of(chat_template)
        if tokenizer:
            settings, lm = request.arguments[1], chat_template.__self__
            settings["until"] = [*settings["until"], end_of_turn(tokenizer).text]
            if isinstance(lm, HFLM):  # drops control tokens before it looks for `until`
                settings["eos_token_id"] = stop_ids(lm.model, tokenizer)
        return request


def _tokenizer_of(chat_template):
    """The fitted tokenizer behind a model's `apply_chat_template`; None without one, and for models behind an API."""
    lm = getattr(chat_template, "__self__", None)
    tokenizer = getattr(lm, "tokenizer", None)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return None
    return _fitted(tokenizer, lm.peft if isinstance(lm, HFLM) else None)


@functools.lru_cache(maxsize=1)
def _fitted(tokenizer, adapter):
    """A copy that is fitted: the same model may answer other tasks too."""
    if adapter and Path(adapter, "tokenizer_config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(adapter)
    else:
        tokenizer = copy.deepcopy(tokenizer)
    fit(tokenizer)
    return tokenizer


def _ask(lm, tokenizer, chat, add_generation_prompt=True):
    """The prompt as text. Raises InputError when the model would read other ids than those of training."""
    continues = not add_generation_prompt
    text = tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=add_generation_prompt, continue_final_message=continues
    )
    if add_generation_prompt and lm.tok_encode(text) != prompt_ids(tokenizer, chat):
        raise InputError(
            f"lm_eval would tokenise the prompt of {quoted(chat[-1]['content'])} otherwise than training did: it adds "
            "BOS or EOS, or reads control tokens in that text; add `add_bos_token=False` to --model_args, or use "
            "midalign evaluate."
        )
    return text


def rows(locale, task_data, task_revision, **_):
    """The test rows of a locale as lm-eval's `custom_dataset`, with the training prompt and answer as columns.

    task_data, task_revision: as in a recipe; the task's metadata has the hub's, `--metadata` overrides them.
    lm-eval passes all metadata and model arguments on, hence `**_`.
    Returns DatasetDict {"test": rows with id, locale, utt, annot_utt, instruction, target}, in such an order that
    `--limit n` takes the rows of `midalign evaluate --rows n`. Raises InputError.
    """
    table = [
        {
            **{field: row[field] for field in ("id", "locale", "utt", "annot_utt")},
            "instruction": massive.INSTRUCTION,
            "target": massive.target(row["annot_utt"]),
        }
        for row in sample_order(task_rows(task_data, locale, "test", task_revision))
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

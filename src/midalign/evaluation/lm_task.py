"""What the lm-eval tasks in `lm_tasks` call: their rows, their prompts and their figures."""

import copy
import functools
from pathlib import Path

import datasets
import numpy as np
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from midalign.data.reading import task_rows
from midalign.data.streams import sample_order
from midalign.data.templates import end_of_turn, fit
from midalign.data.tokens import prompt_ids
from midalign.errors import InputError
from midalign.evaluation.generation import stop_ids
from midalign.tasks import find_task
from midalign.tasks.base import accuracy
from midalign.texts import quoted

ASKED = (["user"], ["system", "user"])  # the roles of what lm-eval asks


class LmTask(ConfigurableTask):
    """A task that asks what training asks and stops where `midalign evaluate` stops, whatever the chat template.

    Prompts are those of the fitted template (`data.templates.fit`): of the adapter's tokenizer where the model has an
    adapter with one, else of the model's. Raises InputError where lm-eval would tokenise such a prompt otherwise.
    """

    def __init__(self, config):
        own = {key: config[key] for key in config if key != "class"}
        super().__init__(config={**own, "process_results": _scored_by_the_task})
        self._figures_of = find_task(self.config.metadata["task"])

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

    def process_results(self, doc, results):
        """The counts of one row by figure, of accuracies the share.   results: [answer]."""
        counts = self._figures_of.counts(doc, results[0])
        figures = self._figures_of.figures
        return {name: float(own[0]) if figures[name].share is accuracy else own for name, own in counts.items()}

    def aggregation(self):
        """How the counts of rows become a figure of the corpus; lm-eval knows the standard error of a mean."""
        figures = self._figures_of.figures.items()
        return {name: mean if share is accuracy else functools.partial(_corpus, share) for name, (_, share) in figures}


def _scored_by_the_task(doc, results):
    """Stands for `LmTask.process_results`: without one, lm-eval looks for metrics of our figures' names, on the hub."""
    raise NotImplementedError


def _corpus(share, counts):
    return float(share(np.sum(counts, axis=0)))


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


def rows(task, locale, task_data, task_revision, task_instruction=None, **_):
    """The test rows of a locale as lm-eval's `custom_dataset`, with the training prompt and answer as columns.

    task, task_data, task_revision, task_instruction: as in a recipe; the task's metadata has the first three,
    `--metadata` overrides them.
    lm-eval passes all metadata and model arguments on, hence `**_`.
    Returns DatasetDict {"test": rows with the task's fields, instruction, asked, target}, in such an order that
    `--limit n` takes the rows of `midalign evaluate --rows n`. Raises InputError.
    """
    task, table = find_task(task, task_instruction), []
    for row in sample_order(task_rows(task, task_data, locale, "test", task_revision)):
        prompt = task.prompt(row)
        if not isinstance(prompt, list) or [message["role"] for message in prompt] not in ASKED:
            raise InputError(
                f"{row['place']} is a chat that lm_eval cannot ask, of more than an instruction and a question; use "
                "midalign evaluate."
            )
        *instruction, asked = (message["content"] for message in prompt)
        own = {key: row[key] for key in row if key != "place"}
        table.append({**own, "instruction": "".join(instruction), "asked": asked, "target": task.gold(row)})
    return datasets.DatasetDict({"test": datasets.Dataset.from_list(table)})

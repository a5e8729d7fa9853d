"""What a task is: where its rows are, how a row is asked and answered, and what an answer is worth.

A task of one's own is one file with one subclass of `Task`, named in a recipe as `task: path/to/own.py`. Everything
else (training, generation, intervals, tests, reports) works with what is here and knows no task by name.

A row is a dict with `id`, `locale` (its language), `partition` (train, dev or test) and what else the task reads. Ids
that are equal in two languages say that the rows are translations of each other: they are drawn and swapped together.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np

from midalign.errors import InputError
from midalign.languages import language_of
from midalign.tasks import sources
from midalign.tasks.thoughts import without_thought
from midalign.texts import label_of, spelled

# (right before, right after) -> what to call a row; those right in both teach nothing.
CHANGES = {(False, True): "mended", (True, False): "broken", (False, False): "still wrong"}


class Figure(NamedTuple):
    """A figure that is a function of summed counts, such as accuracy, micro-F1, BLEU or chrF."""

    title: str  # the head of its column
    share: Callable  # (..., C) summed counts -> (...) shares, 0..1


def accuracy(sums):
    """Share of (right, rows), or mean of (scores, rows).   sums: (..., 2).   Returns (...)."""
    right, rows = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    return right / np.maximum(rows, 1)


def micro_f1(sums, nothing=1.0):
    """F1 of summed (true positives, false positives, false negatives).   sums: (..., 3).   Returns (...).

    nothing: the F1 where all three are 0.
    """
    tp, fp, fn = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    denominator = 2 * tp + fp + fn
    return np.where(denominator > 0, 2 * tp / np.maximum(denominator, 1), nothing)


class Task:
    """A task whose rows have a text and one right answer to it, scored by exact match. Subclasses say the rest."""

    # What a row needs text in. Of id, locale and partition, those not named here are filled in.
    fields = ("utt",)
    also = ()  # fields that need not be text, kept as they are: None where a record has none
    text = "utt"  # the field that asks: shown in reports, kept with answers
    instruction = ""  # what comes before it, as system message or where the chat template takes it
    options = ()  # keys of `tasks.OPTIONS` that it reads, which `__init__` gets where a recipe sets them
    source = None  # where its published rows are, where a command is not told
    supervised, aligned = (), ()  # the languages of a published split, where a command is not told
    max_new_tokens = 128  # where an answer is cut
    figures: ClassVar = {"accuracy": Figure("accuracy", accuracy)}  # the first is compared
    columns = None  # the figures that tables show; all when None
    explained = None  # what the figures in a table are, in a few words
    part = None  # what `report` breaks its figures down by under `per_<part>`, such as slot; None for nothing

    sha256 = None  # of the file that holds it, where it is a user's own

    def __init__(self, name="", instruction=None):
        """name: as in the recipe.   instruction: in place of the task's own."""
        self.name = name
        self.instruction = instruction or self.instruction

    @property
    def label(self):
        """How logs and tables name it."""
        return label_of(self.name)

    def gold(self, row):
        """The right answer to a row, which is what is learned: str."""
        raise NotImplementedError

    def problem(self, row):
        """Why a row with text in all fields cannot be learned ("has ..., what to change"), or None."""
        return None

    def prompt(self, row):
        """A row as chat messages: the instruction, then the text that asks."""
        system = [{"role": "system", "content": self.instruction}] if self.instruction else []
        return [*system, {"role": "user", "content": row[self.text]}]

    def asks(self, text, language):
        """`prompt` of a text of which nothing but its language is known, as `languages.language_of` names it: where the
        sentences of pairs stand with `align_context: task`.   Raises InputError for a task that asks by more than that.
        """
        try:
            return self.prompt({**dict.fromkeys(self.also), "locale": language, self.text: text})
        except InputError as error:  # as a user's own prompt says of a field that is not there
            raise InputError(
                f"align_context task: the prompt of task {self.label} cannot be written of {self.text} and locale "
                f"alone, which is all that a sentence of a pair has; set align_context: plain. ({error})"
            ) from error

    def example(self, row):
        """A training example in TRL's conversational prompt-completion format."""
        return {"prompt": self.prompt(row), "completion": [{"role": "assistant", "content": self.gold(row)}]}

    def counts(self, row, answer):
        """{figure: its counts} of one answer; counts of rows add up to those of a corpus.

        answer: any str, also one behind a thought, which is no part of it (`without_thought`).
        """
        said, gold = (spelled(without_thought(text)) for text in (answer, self.gold(row)))
        return {"accuracy": (said == gold, 1)}

    def right(self, row, answer):
        """Whether an answer is all right, for the examples in a report: the compared figure of it alone is 1."""
        return float(self.share(self.counts(row, answer)[self.compared])) == 1

    def change(self, row, before, after):
        """What an answer became of another, for the examples in a report; None for what is not worth a look."""
        return CHANGES.get((self.right(row, before), self.right(row, after)))

    def report(self, rows, answers):
        """The figures of one answer per row: {figure: share} and "rows", with `part` also {label: {"precision",
        "recall", "f1", "support"}} under `per_<part>`.
        """
        counts = [self.counts(row, answer) for row, answer in zip(rows, answers, strict=True)]
        shares = {
            name: float(of(np.sum([own[name] for own in counts], axis=0))) for name, (_, of) in self.figures.items()
        }
        return {**shares, "rows": len(rows)}

    def language(self, name, source):
        """The language of rows in `source` (see `find`) that a name on the command line means. Raises InputError."""
        sources.require_language(name)
        return name

    def spoken(self, language):
        """The languages that rows of a language are in, as `languages.language_of` names them: set."""
        return {language_of(language)}

    def labelled(self, language, languages):
        """Whether a language is one of those that had labels, by whatever tag."""
        return any(self.spoken(language) & self.spoken(other) for other in languages)

    def find(self, source, language, partition, revision):
        """Where rows are: what `sources.find` gives. Raises InputError."""
        return sources.find(source, language, partition, revision, self.fields)

    def languages_in(self, source, spoken):
        """The languages of which data on this machine has rows in one that is spoken, as `find` takes them: list.

        spoken: as `languages.language_of` names them.
        """
        return [name for name in sources.languages_in(source) if language_of(name) in spoken]

    def vital(self, row):
        """[(what, text)] of which a tokenizer must keep a token, or there is nothing to learn from the row."""
        return [(self.text, row[self.text])]

    def depends_on(self):
        """What answers depend on beside the model and `max_new_tokens`: JSON object."""
        own = {"sha256": self.sha256} if self.sha256 else {}
        return {"task": self.name, "instruction": self.instruction, **own}

    @property
    def guarded(self):
        """The fields whose texts, of a test row, must stand in none of them in a training row."""
        return (self.text,)

    @property
    def compared(self):
        """The name of the figure that runs are compared by."""
        return next(iter(self.figures))

    @property
    def shown(self):
        """{figure: its title} of the figures that tables show."""
        return {name: self.figures[name].title for name in self.columns or self.figures}

    def share(self, sums):
        """The compared figure of summed counts.   sums: (..., C).   Returns (...), shares 0..1."""
        return self.figures[self.compared].share(sums)

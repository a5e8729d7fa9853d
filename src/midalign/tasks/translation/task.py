"""Translation as a task: each direction, such as `en-de`, is a language of its own."""

import os
from itertools import combinations
from typing import ClassVar

from midalign.errors import InputError
from midalign.languages import language_of
from midalign.tasks.base import Figure, Task, accuracy
from midalign.tasks.thoughts import without_thought
from midalign.tasks.translation import figures, sources
from midalign.tasks.translation.names import name_of
from midalign.texts import comparable, shown


class Translation(Task):
    """Translate this from German to English."""

    fields = ("source", "target")
    text = "source"
    guarded = ("source", "target")
    instruction = "Translate this from {source} to {target}:"
    max_new_tokens = 256
    # chrF++ is compared: it needs no tokenizer, so that a mean over languages is one of the same thing, and it moves
    # where a weak model's BLEU is 0.
    figures: ClassVar = {
        "chrf": Figure("chrF++", figures.chrf),
        "bleu": Figure("BLEU", figures.bleu),
        "copied": Figure("source copied", accuracy),
        "empty": Figure("empty", accuracy),
    }
    columns = ("chrf", "bleu")
    comet = None  # see `judge`

    def judge(self, scores):
        """Take COMET among the figures.

        scores: {(source, answer without its thought, reference): its score} of all that is scored.
        """
        self.comet = scores
        self.figures = {**self.figures, "comet": Figure("COMET", accuracy)}
        self.columns = (*self.columns, "comet")

    def languages_in(self, source, spoken):
        """Directions with English, between all where there is none, whether or not the data has them; the other way too
        where that has a folder of its own.
        """
        if source == "demo" or not sources.is_local(source):
            return []
        each = [pair for pair in combinations(sorted(spoken), 2) if "en" in pair or "en" not in spoken]
        both = [pair[::-1] for pair in each if os.path.isdir(os.path.join(source, "-".join(pair[::-1])))]
        return ["-".join(pair) for pair in (*each, *both)]

    def gold(self, row):
        return row["target"]

    def prompt(self, row):
        source, target = map(name_of, self.direction(row["locale"]))
        asked = self.instruction.replace("{source}", source).replace("{target}", target)
        return [{"role": "user", "content": f"{asked}\n{source}: {row['source']}\n{target}:"}]

    def asks(self, text, language):
        raise InputError(
            "align_context task: a prompt of task translation names two languages, and a sentence has one; set "
            "align_context: plain."
        )

    def counts(self, row, answer):
        answer = without_thought(answer)
        said, source, target = map(comparable, (answer, row["source"], row["target"]))
        language = self.direction(row["locale"])[1]
        counts = {name: figures.counts(name, language, answer, row["target"]) for name in ("chrf", "bleu")}
        counts |= {"copied": (said == source != target, 1), "empty": (not said, 1)}
        return counts | ({"comet": (self.comet[row["source"], answer, row["target"]], 1)} if self.comet else {})

    def change(self, row, before, after):
        first, second = (self.share(self.counts(row, answer)["chrf"]) for answer in (before, after))
        return "better" if second > first else "worse" if second < first else "equal"

    def report(self, rows, answers):
        """As `Task.report`, with "signatures" {figure: what sacrebleu says of how it was computed}."""
        language = self.direction(rows[0]["locale"])[1]
        signatures = {name: figures.signature(name, language) for name in ("chrf", "bleu")}
        return {**super().report(rows, answers), "signatures": signatures}

    @property
    def explained(self):
        chrf, bleu = (figures.signature(name, "en") for name in ("chrf", "bleu"))
        return (
            f"scores are sacrebleu's, chrF++ {chrf} and BLEU {bleu}, into Chinese tok:zh, into Japanese, Korean and "
            "languages written without spaces tok:char"
        )

    def direction(self, name):
        """The tags of a direction, (source, target), as they are written. Raises InputError."""
        found = _tags(name)
        if not found:
            what = "one language and no direction" if language_of(name) else "no direction"
            raise InputError(f"{shown(name)} is {what}; name two languages, as in en-de or en-pt-BR.")
        return found

    def language(self, name, source):
        """A direction, or a language as one has pairs in. Raises InputError."""
        if language_of(name) is None:
            self.direction(name)
        return name

    def spoken(self, language):
        return set(map(language_of, _tags(language) or [language]))

    def labelled(self, language, languages):
        tags = list(map(language_of, self.direction(language)))
        return any(list(map(language_of, _tags(other) or [other])) == tags for other in languages)

    def find(self, source, language, partition, revision):
        return sources.find(source, language, self.direction(language), partition, revision)

    def vital(self, row):
        return [(side, row[side]) for side in ("source", "target")]


def _tags(name):
    """The two tags in a name such as de-en; None where it is not of two languages, or can be read in two ways."""
    parts = name.split("-")
    cuts = [("-".join(parts[:i]), "-".join(parts[i:])) for i in range(1, len(parts))]
    cuts = [cut for cut in cuts if None not in map(language_of, cut)]
    return cuts[0] if len(cuts) == 1 and len(set(map(language_of, cuts[0]))) == 2 else None

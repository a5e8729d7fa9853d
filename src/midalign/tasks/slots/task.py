"""Slot filling as a task."""

from typing import ClassVar

from midalign.tasks import sources
from midalign.tasks.base import Figure, Task, accuracy, micro_f1
from midalign.tasks.items import precision, recall
from midalign.tasks.slots import massive, scoring
from midalign.texts import comparable, quoted, shown


class Slots(Task):
    """MASSIVE's slots: `time: nine am; date: friday`."""

    fields = ("id", "locale", "partition", "utt", "annot_utt")
    instruction = (
        massive.INSTRUCTION
    )  # the longest MASSIVE answer has fewer than 128 tokens in every tokenizer we tried
    source = "AmazonScience/massive"
    supervised, aligned = massive.SUPERVISED, massive.ALIGNED
    figures: ClassVar = {
        "f1": Figure("slot F1", micro_f1),
        "name_f1": Figure("slot found", micro_f1),
        "precision": Figure("precision", precision),
        "recall": Figure("recall", recall),
        "exact_match": Figure("exact match", accuracy),
    }
    columns = ("f1", "name_f1")
    explained = "slot F1: slot and words right; slot found: F1 of the slot names alone"
    part = "slot"

    def gold(self, row):
        return massive.target(row["annot_utt"])

    def problem(self, row):
        try:
            pieces = massive.segments(row["annot_utt"])
        except ValueError as error:
            return f"has a bad annotation: {str(error).removesuffix('.')}"
        for slot, words in pieces:
            if slot is not None and slot not in massive.SLOTS:
                known = ", ".join(sorted(massive.SLOTS))
                return f"has slot {shown(slot)}, which MASSIVE does not know; use {known}"
            if slot is not None and not comparable(words):
                return f"has slot {slot} with nothing to read in it, {quoted(words)}; give it words or delete the slot"
        spells = "".join(words for _, words in pieces)
        if comparable(spells) != comparable(row["utt"]):
            return (
                f"has annotation {quoted(row['annot_utt'])}, but the utterance is {quoted(row['utt'])}; without its "
                "brackets the annotation must be the utterance"
            )
        return None

    def counts(self, row, answer):
        slots, names, exact = scoring.row_figures(row, answer)
        return {"f1": slots, "name_f1": names, "precision": slots, "recall": slots, "exact_match": (exact, 1)}

    def right(self, row, answer):
        return scoring.is_exact(row, answer)

    def report(self, rows, answers):
        figures = scoring.score(rows, answers)
        del figures["per_language"]
        return figures

    def language(self, name):
        return massive.find_locale(name)

    def find(self, source, language, partition, revision):
        if source != "demo":
            sources.require_known(language, massive.LOCALES, "MASSIVE")
        return super().find(source, language, partition, revision)

    def vital(self, row):
        return [("utterance", row["utt"]), *((f"slot {s} with", words) for s, words in massive.parse(row["annot_utt"]))]

    def depends_on(self):
        return {"instruction": self.instruction}

"""Slot filling as a task."""

from typing import ClassVar

from midalign.errors import InputError
from midalign.tasks.base import Figure, accuracy, micro_f1
from midalign.tasks.items import precision, recall
from midalign.tasks.on_massive import OnMassive
from midalign.tasks.slots import massive, scoring
from midalign.texts import comparable, quoted, shown, spelled, squeeze


class Slots(OnMassive):
    """Slots, MASSIVE's or one's own: `time: nine am; date: friday`.

    task_slots: the names that rows may have; ["any"] for all that come; None for MASSIVE's 55. Where they are given,
    rows need no id, locale and partition.
    """

    fields = ("id", "locale", "partition", "utt", "annot_utt")
    options = ("task_slots",)
    # The longest MASSIVE answer has fewer than 128 tokens in every tokenizer we tried.
    instruction = massive.INSTRUCTION
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

    def __init__(self, name="", instruction=None, task_slots=None):
        super().__init__(name, instruction)
        self._own = task_slots is not None
        if self._own:
            self.fields = ("utt", "annot_utt")
        for slot in task_slots or ():
            if slot != squeeze(slot) or set(slot) & set(":[]") or not comparable(slot):
                raise InputError(f"task_slots: found {quoted(slot)}; a name has neither : nor [ nor ] and can be read.")
        if self._own and "any" in task_slots and len(task_slots) > 1:
            raise InputError("task_slots: found any beside other names; keep any alone, or name the slots.")
        self._any = task_slots == ["any"]
        self.slots = frozenset(() if self._any else map(spelled, task_slots or massive.SLOTS))

    def gold(self, row):
        return massive.target(row["annot_utt"])

    def problem(self, row):
        try:
            pieces = massive.segments(row["annot_utt"])
        except ValueError as error:
            return f"has a bad annotation: {str(error).removesuffix('.')}"
        for slot, words in pieces:
            if slot is not None and not self._any and spelled(slot) not in self.slots:
                whose = "is not among task_slots" if self._own else "MASSIVE does not know"
                return f"has slot {shown(slot)}, which {whose}; use {', '.join(sorted(self.slots))}"
            if slot is not None and not comparable(slot):
                return f"has a slot with nothing to read in its name, {quoted(slot)}; give it one"
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
        figures = scoring.score(rows, answers, slots=self.slots)
        del figures["per_language"]
        return figures

    def free(self, source, language):
        return self._own or super().free(source, language)

    def vital(self, row):
        return [("utterance", row["utt"]), *((f"slot {s} with", words) for s, words in massive.parse(row["annot_utt"]))]

    def depends_on(self):
        return {"instruction": self.instruction}

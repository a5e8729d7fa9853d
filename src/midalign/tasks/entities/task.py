"""Named entities as a task.

An answer is compared with its row as a multiset of (type, words), see `tasks.items`. That defines
* an empty answer: where the row has no entity, it is right; where it has some, all are missed;
* an entity that appears twice: it is to be answered twice, and once is a hit and a miss;
* a duplicate: what is answered more often than it appears is spurious;
* overlapping answers: each is compared by itself, and since no two entities of a treebank overlap, at least one of
  them is spurious;
* a type that is none of PER, LOC and ORG: spurious.
Words are compared NFC-normalised, case kept, white space collapsed; in languages written without spaces it is removed.
An answer is an exact match when nothing is spurious or missed and it could be read: "" and "None" are not JSON, and no
exact match of a row without entities either; F1 cannot see it there.
"""

import os
from collections import Counter
from typing import ClassVar

from midalign.errors import InputError
from midalign.tasks import items, sources
from midalign.tasks.base import Figure, Task, accuracy, micro_f1
from midalign.tasks.entities import answers, treebanks
from midalign.tasks.entities.prompts import PROMPTS, prompt_of
from midalign.tasks.entities.treebanks import TYPES
from midalign.texts import comparable, quoted, spelled


class Entities(Task):
    """Universal NER's persons, locations and organizations: `{"PER": ["Anna"], "LOC": [], "ORG": []}`."""

    fields = ("text",)
    also = ("tokens", "tags", "treebank")
    text = "text"
    source = "universalner/universal_ner"
    supervised = ("en_ewt",)
    max_new_tokens = 256  # the longest answer of ten treebanks has 121 tokens in Gemma 3, 159 in SmolLM2
    figures: ClassVar = {
        "f1": Figure("entity F1", micro_f1),
        "found": Figure("found", micro_f1),
        "precision": Figure("precision", items.precision),
        "recall": Figure("recall", items.recall),
        "exact_match": Figure("exact match", accuracy),
        "valid_json": Figure("valid JSON", accuracy),
    }
    columns = ("f1", "found", "valid_json")
    explained = "entity F1: type and words right; found: F1 of the words alone; valid JSON: nothing had to be mended"
    part = "type"

    def gold(self, row):
        return answers.write(treebanks.entities(row))

    def problem(self, row):
        found = treebanks.tag_problem(row["tokens"], row["tags"])
        if found:
            return found
        for kind, words in treebanks.entities(row):
            if not comparable(words):
                return f"has {kind} with nothing to read in it, {quoted(words)}; tag it O or give it words"
        return None

    def prompt(self, row):
        language = min(treebanks.languages_of(row["treebank"] or row["locale"]))
        chat = [{"role": "system", "content": self.instruction or prompt_of(language)}]
        return [*chat, {"role": "user", "content": row["text"]}]

    def counts(self, row, answer):
        gold, answered, readable, valid = self._read(row, answer)
        hits, spurious, missed = map(len, items.match(gold, answered))
        typed = (hits, spurious, missed)
        words, said = (Counter(own for _, own in pairs) for pairs in (gold, answered))
        found = (words & said).total()
        return {
            "f1": typed,
            "found": (found, said.total() - found, words.total() - found),
            "precision": typed,
            "recall": typed,
            "exact_match": (readable and not (spurious or missed), 1),
            "valid_json": (valid, 1),
        }

    def right(self, row, answer):
        return bool(self.counts(row, answer)["exact_match"][0])

    def report(self, rows, answers_):
        read = [answers.read(answer) for answer in answers_]
        outcomes = [items.match(*self._read(*pair)[:2]) for pair in zip(rows, answers_, strict=True)]
        precision, recall, f1, per_type = items.seqeval_figures(outcomes, TYPES)
        return {
            **super().report(rows, answers_),
            "f1": f1,
            "precision": precision,
            "recall": recall,
            "malformed": sum(not readable for *_, readable in read),
            "mended": dict(sorted(Counter(kind for _, repairs, _ in read for kind in repairs).items())),
            "per_type": per_type,
        }

    def _read(self, row, answer):
        """(gold, answered, whether it could be read, whether nothing was mended) of an answer, items comparable."""
        answered, repairs, readable = answers.read(answer)
        without = items.without_spaces(row["locale"])
        gold, own = (
            [(kind, "".join(spelled(words).split()) if without else spelled(words)) for kind, words in pairs]
            for pairs in (treebanks.entities(row), answered)
        )
        return gold, own, readable, readable and not repairs

    def language(self, name, source):
        return name if treebanks.NAME.fullmatch(name) else super().language(name, source)

    def spoken(self, language):
        return treebanks.languages_of(language)

    def languages_in(self, source, spoken):
        if not os.path.isdir(source):
            return []
        found = treebanks.files_of(source)
        return [name for name in found if self.spoken(name) & spoken] or super().languages_in(source, spoken)

    def find(self, source, language, partition, revision):
        if source == "demo":
            raise InputError("task_data demo has no entities; name a folder of Universal NER's treebanks or a hub set.")
        files = treebanks.files_of(source) if os.path.isdir(source) else {}
        if files:
            found = treebanks.sentences(source, files, language, partition)
            return found, f"{source}, treebank {language}, {partition},", True
        own = treebanks.resolve(language, treebanks.PUBLISHED, source) if source == self.source else language
        tag = language.partition("_")[0] if treebanks.NAME.fullmatch(language) else language
        found, where, alone = sources.find(source, tag, partition, revision, ("tokens",), own)
        return (_with_names(*one, language, own) for one in found), where, alone

    def vital(self, row):
        return [("text", row["text"]), *treebanks.entities(row)]

    def depends_on(self):
        return {"task": self.name, "instruction": self.instruction or PROMPTS}


def _with_names(place, record, problem, language, own):
    """A record of the hub or of JSONL with the names that the task reads.

    language: as asked.   own: as the source calls it. The hub has sent_id as `idx`, and tags as `ner_tags`.
    """
    if not isinstance(record, dict) or not isinstance(record.get("tokens"), list):
        return place, record, problem
    names = {"tags": record.get("tags", record.get("ner_tags")), "treebank": None}
    if treebanks.NAME.fullmatch(own):
        sentence = record["idx"] if isinstance(record.get("idx"), str) else str(record["id"])
        names |= {"treebank": own, "locale": language, "id": treebanks.id_of(own, sentence)}
    if record.get("text") is None and all(isinstance(token, str) for token in record["tokens"]):
        names["text"] = treebanks.joined(language, record["tokens"])
    return place, {**record, **names}, problem

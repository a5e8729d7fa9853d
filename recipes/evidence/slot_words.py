"""What became of the words of slots: where slot F1 stays behind slots found, per language, of the answers of one run.

    python recipes/evidence/slot_words.py MASSIVE ANSWERS [--labelled 4800]

MASSIVE: <locale>/{train,validation,test}.jsonl.   ANSWERS: the folder of a run below the output of `midalign evaluate`.
Each slot of the rows ends in one of `FATES`, also by whether an English row with a label has it with the same words.
"""

import argparse
from collections import Counter
from pathlib import Path

from midalign.data.reading import task_rows
from midalign.data.streams import free_of_tests, sample
from midalign.files import objects
from midalign.tasks import find_task
from midalign.tasks.items import without_spaces
from midalign.tasks.slots.massive import parse, read_target
from midalign.texts import spelled

FATES = ("right", "border", "elsewhere", "English", "invented", "not found")


def fates(locale, gold, answered, utterance, english):
    """What became of each slot of a row: list of (slot, words, one of FATES).

    gold, answered: (slot, words) each.   utterance: its text.   english: the values of English rows, {(slot, words)}.
    An answered slot of the same name is taken where the words are right, else the first that is left. border: its words
    are of the utterance and overlap the right ones; elsewhere: of the utterance, but others; English: not of the
    utterance, a value of that slot in an English row; invented: any other.
    """

    def plain(words):
        words = spelled(words).casefold()
        return "".join(words.split()) if without_spaces(locale) else words

    english = {(slot, plain(words)) for slot, words in english}
    left = [(slot, plain(words)) for slot, words in answered]
    wanted = [(slot, plain(words)) for slot, words in gold]
    hits = Counter(wanted) & Counter(left)
    right = [hits[item] > 0 and not hits.subtract([item]) for item in wanted]
    for item, hit in zip(wanted, right, strict=True):
        if hit:
            left.remove(item)
    found = []
    for (slot, words), own, hit in zip(gold, wanted, right, strict=True):
        same = next((item for item in left if item[0] == slot), None)
        if not hit and same:
            left.remove(same)
        fate = "right" if hit else _of_words(own[1], same[1], plain(utterance), slot, english) if same else "not found"
        found.append((slot, words, fate))
    return found


def _of_words(words, answered, utterance, slot, english):
    if answered in utterance:
        overlap = answered in words or words in answered or not {*answered.split()}.isdisjoint(words.split())
        return "border" if overlap else "elsewhere"
    return "English" if (slot, answered) in english else "invented"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of MASSIVE")
    parser.add_argument("answers", type=Path)
    parser.add_argument("--partition", default="validation")
    parser.add_argument("--labelled", type=int, default=4800, help="English rows with a label in the run")
    options = parser.parse_args()
    task = find_task("slots")

    def values(rows):
        return {(slot, spelled(words).casefold()) for row in rows for slot, words in parse(row["annot_utt"])}

    labelled = values(sample(free_of_tests(task, options.data, "en-US"), options.labelled))  # as in a run
    parallel = task_rows(task, options.data, "en-US", options.partition, None)
    english = labelled | values(parallel)
    print("| locale | slots | " + " | ".join(FATES) + " | seen | right if seen | right if not |")
    print("|---|" + "---:|" * (len(FATES) + 4))
    for file in sorted(options.answers.glob("*.jsonl")):
        rows = {row["id"]: row for row in task_rows(task, options.data, file.stem, options.partition, None)}
        every = []
        for _, answer in objects(file):
            row = rows[answer["id"]]
            said = read_target(answer["prediction"])
            every += fates(file.stem, parse(row["annot_utt"]), said, row["utt"], english)
        count = Counter(fate for *_, fate in every)
        known = [(slot, spelled(words).casefold()) in labelled for slot, words, _ in every]
        shares = [*(count[fate] / len(every) for fate in FATES), sum(known) / len(every)]
        for kind in (True, False):
            own = [fate == "right" for (*_, fate), is_known in zip(every, known, strict=True) if is_known == kind]
            shares.append(sum(own) / max(len(own), 1))
        print(f"| {file.stem} | {len(every)} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |")


if __name__ == "__main__":
    main()

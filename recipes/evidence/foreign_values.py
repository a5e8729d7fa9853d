"""English slot rows, some of them with words of other languages in their slots, so that foreign words must be copied.

    python recipes/evidence/foreign_values.py data/massive data/foreign_values data/pairs --labelled 4800

"wake me up at [time : nine am]" becomes "wake me up at [time : saa tatu]": the words are any that stand together in
sentences of the pairs, which have no labels. An arm of recipes/evidence.md that failed: it costs slot F1 everywhere.
"""

import argparse
import json
import random
from pathlib import Path

from midalign.data.checks import Sieve
from midalign.data.pairs import read_pairs
from midalign.data.streams import free_of_tests, sample
from midalign.tasks import find_task
from midalign.tasks.items import without_spaces
from midalign.tasks.slots.massive import BRACKET

PIVOT = "en-US"


def with_foreign_values(row, sentences, draw):
    """A row with other words in each of its slots, as many as before, of one of the sentences each.

    sentences: [(language, text)] without square brackets; of a language without spaces two characters count as a word.
    draw: `random.Random`.
    """

    def other(match):
        slot, words = (part.strip() for part in match.groups())
        language, text = draw.choice(sentences)
        joint = "" if without_spaces(language) else " "
        parts = text.split() if joint else [*"".join(text.split())]
        count = min(len(words.split()) * (1 if joint else 2), len(parts))
        start = draw.randrange(len(parts) - count + 1)
        return f"[{slot} : {joint.join(parts[start : start + count])}]"

    annotated = BRACKET.sub(other, row["annot_utt"])
    return {**row, "annot_utt": annotated, "utt": BRACKET.sub(lambda match: match[2].strip(), annotated)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with <locale>/train.jsonl")
    parser.add_argument("output", type=Path)
    parser.add_argument("pairs", nargs="+", help="files or folders, as align_data has them")
    parser.add_argument("--labelled", type=int, default=None, help="task_rows of the run; all when unset")
    parser.add_argument(
        "--share", type=float, default=0.5, help="of the rows, with slots or without, that get other words"
    )
    options = parser.parse_args()
    task, draw = find_task("slots"), random.Random(1)
    usable = free_of_tests(task, options.data, PIVOT)
    pairs = read_pairs(options.pairs, Sieve(), PIVOT)  # without the bad ones, as with on_bad_row: skip
    sentences = [(pair["source_lang"], pair["source"]) for pair in pairs if not {*"[]"} & {*pair["source"]}]
    folder = options.output / PIVOT
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for row in sample(usable, options.labelled):
            own = with_foreign_values(row, sentences, draw) if draw.random() < options.share else row
            file.write(json.dumps({field: own[field] for field in task.fields}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

"""Translation pairs of a task's own utterances, from parallel task data such as MASSIVE: JSONL, one file a language.

    python examples/in_domain_pairs.py data/massive data/pairs sw-KE cy-GB --labelled 4800 --pairs 1000

Rows that a run with `task_rows: 4800` takes labels from (its `sample`) are left out, so that no pair has a label on its
English side.
"""

import argparse
import json
from pathlib import Path

from midalign.data.checks import Sieve, among_tests
from midalign.data.reading import task_rows, texts_of_tests
from midalign.data.streams import sample
from midalign.languages import language_of
from midalign.tasks import find_task


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with <locale>/train.jsonl")
    parser.add_argument("output", type=Path)
    parser.add_argument("locales", nargs="+")
    parser.add_argument("--pivot", default="en-US")
    parser.add_argument("--labelled", type=int, default=0, help="task_rows of the run")
    parser.add_argument("--pairs", type=int, default=None, help="of each language; all when unset")
    parser.add_argument("--wrong", action="store_true", help="give every sentence another one's translation: a control")
    options = parser.parse_args()
    task = find_task("intents")
    pivot = task_rows(task, options.data, options.pivot, "train", None)
    tests = texts_of_tests(task, options.data, options.pivot, None, Sieve())
    usable = Sieve().keep(pivot, among_tests(tests, task.guarded))  # as in a run, which takes its sample of these
    labelled = {row["id"] for row in sample(usable, options.labelled)}
    free = sample([row for row in usable if row["id"] not in labelled], options.pairs)
    options.output.mkdir(parents=True, exist_ok=True)
    for locale in options.locales:
        translated = {row["id"]: row["utt"] for row in task_rows(task, options.data, locale, "train", None)}
        source, target = language_of(locale), language_of(options.pivot)
        with (options.output / f"{source}-{target}.jsonl").open("w", encoding="utf-8") as file:
            both = [row for row in free if row["id"] in translated]
            partners = both[1:] + both[:1] if options.wrong else both
            for row, partner in zip(both, partners, strict=True):
                pair = {"source": translated[partner["id"]], "target": row["utt"]}
                pair |= {"source_lang": source, "target_lang": target}
                file.write(json.dumps(pair, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

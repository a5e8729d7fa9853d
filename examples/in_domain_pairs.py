"""Translation pairs of a task's own utterances, from parallel task data such as MASSIVE: JSONL, one file a language.

    python examples/in_domain_pairs.py data/massive data/pairs sw-KE cy-GB --labelled 4800 --pairs 1000

Rows that a run with `task_rows: 4800` takes labels from (its `sample`) are left out, so that no pair has a label on its
English side; so are rows that have the text of a test row in any of the languages.
"""

import argparse
import json
from pathlib import Path

from midalign.data.streams import free_of_tests, sample
from midalign.errors import InputError
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
    try:
        write_pairs(options)
    except InputError as error:
        parser.error(error)


def write_pairs(options):
    """Raises InputError for data that cannot be read."""
    task = find_task("intents")
    pivot = free_of_tests(task, options.data, options.pivot)
    labelled = {row["id"] for row in sample(pivot, options.labelled)}
    translated = {
        locale: {row["id"]: row["utt"] for row in free_of_tests(task, options.data, locale)}
        for locale in options.locales
    }
    in_all = set.intersection(*map(set, translated.values())) - labelled
    free = sample([row for row in pivot if row["id"] in in_all], options.pairs)
    partners = free[1:] + free[:1] if options.wrong else free
    options.output.mkdir(parents=True, exist_ok=True)
    for locale, texts in translated.items():
        source, target = language_of(locale), language_of(options.pivot)
        with (options.output / f"{source}-{target}.jsonl").open("w", encoding="utf-8") as file:
            for row, partner in zip(free, partners, strict=True):
                pair = {"source": texts[partner["id"]], "target": row["utt"]}
                pair |= {"source_lang": source, "target_lang": target}
                file.write(json.dumps(pair, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

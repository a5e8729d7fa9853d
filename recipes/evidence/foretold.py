"""Does what the untouched model knows foretell the task's accuracy? Pearson's r over the languages without labels.

    python recipes/evidence/foretold.py MODEL MASSIVE SCORES...

MODEL: the model before training.   MASSIVE: <locale>/validation.jsonl, of which it takes the first 500 rows that all
languages have.   SCORES: scores.json of `midalign evaluate` with several runs, languages that complete each other; runs
that each file has are taken.
Prints retrieval@1 of each language with English at the layer that `midalign layers` takes, the accuracy of each run,
and how they correlate: retrieval with each run's accuracy, and with what each arm gains over the baseline, also over
languages without pairs alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from midalign.analysis.recommendation import correlation
from midalign.data.reading import task_rows
from midalign.languages import language_of
from midalign.tasks import find_task

PIVOT, SENTENCES = "en-US", 500


def retrieval(model, massive, locales):
    """({locale: retrieval@1 with the pivot}, layer) of the states of utterances by themselves, mean of their tokens."""
    task = find_task("intents")
    texts = {
        locale: {row["id"]: row["utt"] for row in task_rows(task, massive, locale, "validation", None)}
        for locale in (PIVOT, *locales)
    }
    shared = [key for key in texts[PIVOT] if all(key in of_locale for of_locale in texts.values())][:SENTENCES]
    with tempfile.TemporaryDirectory() as folder:
        pairs, output = Path(folder, "pairs"), Path(folder, "layers")
        pairs.mkdir()
        for locale in locales:
            language = language_of(locale)
            lines = [
                json.dumps(
                    {
                        "source": texts[locale][key],
                        "target": texts[PIVOT][key],
                        "source_lang": language,
                        "target_lang": language_of(PIVOT),
                    }
                )
                for key in shared
            ]
            (pairs / f"{language}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "midalign", "layers", model, "--pairs", pairs, "--dtype", "float32"]
        command += ["--sentences", str(SENTENCES)]
        subprocess.run([*command, "--pooling", "mean", "-o", output], check=True, stdout=sys.stderr)
        (of_model,) = json.loads((output / "layers.json").read_text(encoding="utf-8"))["models"].values()
    layer = of_model["recommendation"]["layer"]
    languages = of_model["poolings"]["mean"]["languages"]
    return {locale: languages[language_of(locale)]["retrieval_at_1"][layer] for locale in locales}, layer


def figures(files):
    """{run: {locale: figures}} of all files together, for the runs that each of them has."""
    every = [scores["runs"] for scores in files]
    return {
        name: {locale: own for runs in every for locale, own in runs[name]["languages"].items()}
        for name in every[0]
        if all(name in runs for runs in every)
    }


def told(r):
    """One line of what `correlation` gives."""
    interval = " ({:+.2f} to {:+.2f})".format(*r["interval"]) if r["interval"] else ""
    value = "none" if r["r"] is None else f"{r['r']:+.2f}{interval}"
    return f"{value}, {len(r['languages'])} languages"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("massive")
    parser.add_argument("scores", nargs="+", type=Path)
    options = parser.parse_args()
    files = [json.loads(path.read_text(encoding="utf-8")) for path in options.scores]
    runs, base = figures(files), files[0]["baseline"]
    group = {locale: own for scores in files for locale, own in scores["groups"].items()}
    if any(scores["baseline"] != base for scores in files):
        parser.error("the files have different baselines; name files with the same")
    locales = sorted(runs[base].keys() - {PIVOT})
    known, layer = retrieval(options.model, options.massive, locales)
    print(f"| | retrieval@1, layer {layer} | {' | '.join(runs)} |", "|---" * (2 + len(runs)) + "|", sep="\n")
    for locale in sorted(locales, key=known.get):
        values = [known[locale], *(run[locale]["accuracy"] for run in runs.values())]
        print(f"| {locale} | {' | '.join(f'{100 * value:.1f}' for value in values)} |")
    for name, run in runs.items():
        print(f"accuracy of {name}: {told(correlation(known, {key: run[key]['accuracy'] for key in locales}))}")
        if "gain" in run[locales[0]]:  # between runs of one seed
            gains = {key: run[key]["gain"] for key in locales}
            print(f"gain of {name} over {base}: {told(correlation(known, gains))}")
            alone = {key: gain for key, gain in gains.items() if group[key] == "never aligned"}
            print(f"of those without pairs alone: {told(correlation(known, alone))}")


if __name__ == "__main__":
    main()

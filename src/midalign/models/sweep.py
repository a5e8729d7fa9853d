"""The weight of an alignment update, chosen on development rows."""

import json
import math
import statistics
from functools import partial

from midalign.errors import InputError
from midalign.evaluation.answers import answer
from midalign.models.adapters import read_adapter
from midalign.models.merged import ORIGIN, common_base, merge, source
from midalign.models.runs import find_run, fingerprint, load_run

TABLE = "sweep.json"


def sweep(kind, task, align, output, weights, rows, batch_size=32, advance=lambda n: None, **options):
    """Merge with every weight of the alignment's update, answer the rows, and name the weight with the best mean score.

    kind: what is learned, `tasks.base.Task`.   task, align: adapter folders.
    output: a folder for adapters, answers and sweep.json; its answers are used again.
    weights: of the alignment's update; the task's is 1.   rows: {locale: development rows}.
    advance(n): called after every n answers.   options: of `merged.merge`.
    Returns {"chosen": weight, "weights": {weight: {locale: share, "mean": share}}} of the compared
    figure; equals: the smaller.
    """
    if not weights or len(set(weights)) < len(weights) or not all(map(math.isfinite, weights)):
        raise InputError(f"found weights {weights} to try; give some, each once and finite.")
    table = {}
    for weight in sorted(weights):
        folder = output / f"weight-{weight!r}"
        if folder.is_dir() and not _made_of(folder, task, align, options):
            raise InputError(f"{output} holds a sweep of other adapters or options; delete it or name another output.")
        if not folder.is_dir():
            merge(task, align, folder, weights=(1.0, weight), **options)
        run = find_run(str(folder))
        answers = answer(
            kind,
            rows,
            output / f"answers-{weight!r}",
            fingerprint(run),
            partial(load_run, run),
            batch_size,
            kind.max_new_tokens,
            advance,
        )
        scores = {locale: kind.report(some, answers[locale])[kind.compared] for locale, some in rows.items()}
        table[weight] = {**scores, "mean": statistics.mean(scores.values())}
    chosen = max(table, key=lambda weight: (table[weight]["mean"], -weight))
    result = {"chosen": chosen, "rows": {locale: len(some) for locale, some in rows.items()}, "weights": table}
    (output / TABLE).write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def _made_of(folder, task, align, options):
    """Whether a merged folder was made of exactly these adapters with these options."""
    record = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    before = [record[key] for key in ("task", "align", "base", "cut_to_rank", "dtype")]
    adapters = [read_adapter(side) for side in (task, align)]
    base, _ = common_base(*adapters, options.get("base"))
    return before == [*map(source, adapters), base, options.get("rank"), options.get("dtype", "float32")]

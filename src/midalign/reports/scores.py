"""Scores per language as sections of the page: those of `midalign evaluate`, and those that runs end with."""

from midalign import pages
from midalign.evaluation import report as evaluation

WITHOUT_INTERVAL = (
    "Shares in percent of the test rows that training scored at its end; it keeps no answers, so there is no interval. "
    "midalign evaluate has intervals and paired tests."
)


def sections(runs, evaluated):
    """What the page shows of scores, one section for each task and set of rows.

    runs: [Logged].   evaluated: contents of scores.json; those of the same rows stand side by side, then without gains.
    Returns [{"title", "tables" [(title, parts)], "names", "compared", "shown", "colours", "notes"}], the parts as
    `evaluation/runs_table.html` takes them.
    """
    looks = {run.name: number for number, run in enumerate(runs)}
    return [*(_evaluated(result, looks) for result in _together(evaluated)), *_trained(runs, looks)]


def _together(evaluated):
    """Results of the same rows as one, unless a name stands for two runs in them."""
    found = []
    for result in evaluated:
        place = next((i for i, other in enumerate(found) if _same_rows(result, other)), None)
        if place is None:
            found.append(result)
        else:
            runs = found[place]["runs"] | result["runs"]
            found[place] = {**found[place], "runs": runs, "baseline": list(runs)[-1]}  # after which none is compared
    return found


def _same_rows(one, other):
    of = ("task", "groups")
    same = [one[key] for key in of] == [other[key] for key in of] and one["record"]["data"] == other["record"]["data"]
    return same and all(one["runs"][name] == other["runs"][name] for name in one["runs"].keys() & other["runs"].keys())


def _evaluated(result, looks):
    parts = evaluation.parts(result)
    tables = [("How far it carries", "part in training", parts["group_parts"])]
    tables += [(group, "language", of) for group, of in parts["language_parts"].items()]
    gains = [f"Gains are over {result['baseline']}."] if parts["compared"] else []
    partition = result["record"]["data"].get("partition", "test")
    return {
        "title": f"{result['task']['name']}: {partition} rows of {parts['source']}, scored by midalign evaluate",
        "tables": tables,
        "names": parts["names"],
        "compared": parts["compared"],
        "shown": result["task"]["shown"],
        "colours": _colours(parts["names"], looks),
        "notes": [*gains, parts["over"], *parts["notes"]],
    }


def _trained(runs, looks):
    """Sections of the scores in the runs' own records; what is no score there is left out."""
    found = {}  # {(task, (figure, title)...): {run: {locale: figures}}}
    for run in runs:
        for task, shown, of_locales in _of_record(run.record):
            found.setdefault((task, shown), {})[run.name] = of_locales
    for (task, shown), of_runs in found.items():
        locales = dict.fromkeys(locale for of_locales in of_runs.values() for locale in of_locales)
        parts = [(locale, "", {run: of[locale] for run, of in of_runs.items() if locale in of}) for locale in locales]
        yield {
            "title": f"{task}: scored at the end of training",
            "tables": [(None, "language", parts)],
            "names": list(of_runs),
            "compared": [],
            "shown": dict(shown),
            "colours": _colours(of_runs, looks),
            "notes": [WITHOUT_INTERVAL],
        }


def _of_record(record):
    """Yields (task, its shown figures as pairs, {locale: {figure: share, and None for the interval of the first}})."""
    try:
        tasks, scores = record.get("tasks", []), record.get("scores") or {}
        for task in tasks if scores else ():
            shown = tuple((str(name), str(title)) for name, title in task["shown"].items())
            of_task = scores[task["name"]] if len(tasks) > 1 else scores
            figures = {
                locale: {name: float(own[name]) for name, _ in shown} | {f"{shown[0][0]}_ci": None}
                for locale, own in of_task.items()
            }
            yield str(task["name"]), shown, figures
    except (TypeError, ValueError, LookupError, AttributeError):  # a record of others, or of an older version
        return


def _colours(names, looks):
    """Those of the curves for runs that have some, others for others."""
    free = len(looks)
    numbers = {name: looks.get(name, free + i) for i, name in enumerate(names)}
    return {name: pages.look(number)[0] for name, number in numbers.items()}

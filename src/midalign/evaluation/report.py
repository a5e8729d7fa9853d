"""A comparison as a table, in Markdown and on the console, and as one HTML page that needs nothing else.

`result` is what scores.json holds: "task" {"name", "shown" {figure: title}, "explained", "text", "part"}, "runs" as
`comparison.compare` gives them, "baseline", "groups" {locale: group},
"failing_<part>s", "examples" and "record" {"versions", "data" {"source", ...}, "models", ...}.
"""

import json
import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

import midalign
from midalign.evaluation.comparison import compare, examples, failing
from midalign.evaluation.counts import counted_each
from midalign.evaluation.notes import NO_INTERVAL, NO_P, compared_arms, notes, over, several
from midalign.evaluation.transfer import GROUPS
from midalign.files import write_result
from midalign.pages import COLOURS, page
from midalign.texts import in_markdown, shown

FILES = ("scores.json", "report.md", "report.html")
PACKAGES = ("torch", "transformers", "tokenizers", "peft", "trl", "datasets", "seqeval", "sacrebleu", "numpy")


def write_report(task, folder, rows, answers, groups, baseline, record, arms=None):
    """Compare the arms and write scores.json, report.md and report.html into `folder`.

    task, groups, baseline: as `comparison.compare` takes them.   rows: {locale: [row]}.   answers: {run: {locale:
    [answer]}}.   record: JSON object with "data" {"source"}, kept as it is beside the versions of the packages.
    arms: {arm: [`counts.Counted`]}, of which the first run's answers may be missing; each run by itself when None.
    Failing parts are those of the last arm, examples those of its first run against the baseline's.
    Returns what scores.json holds. Raises InputError.
    """
    arms = arms or counted_each(task, rows, answers)
    runs = compare(task, arms, groups, baseline)
    last = list(runs)[-1]
    firsts = {arm: own[0].name for arm, own in arms.items()}
    told_by = {name: answers[name] for name in firsts.values() if name in answers}
    compared = [firsts[baseline], firsts[last]]
    versions = {"midalign": midalign.__version__, "python": platform.python_version()}
    result = {
        "task": told(task),
        "baseline": baseline,
        "groups": groups,
        "runs": runs,
        f"failing_{task.part or 'part'}s": failing(task, runs, baseline, last),
        "examples": examples(task, rows, told_by, *compared) if told_by.keys() >= set(compared) else [],
        "record": {"versions": versions | {package: version(package) for package in PACKAGES}, **record},
    }
    for name, text in zip(FILES, (json.dumps(result, indent=1), markdown(result), html(result)), strict=True):
        write_result(Path(folder, name), text, "make room for it and evaluate again, the answers are kept")
    return result


def told(task):
    """What a report says of its task; JSON."""
    return {"name": task.name, "shown": task.shown, "explained": task.explained, "text": task.text, "part": task.part}


def markdown(result):
    """The figures of `lines` and what they mean."""
    head, *body = (["" if cell is None else in_markdown(cell) for cell in line] for line in lines(result))
    text = [head, ["---", "---:", "---", *["---:"] * (len(head) - 3)], *body]
    gains = f"Gains are over {in_markdown(result['baseline'])}. " if compared_arms(result) else ""
    said = [f"{gains}{over(result)}", *notes(result)]
    return "\n\n".join(["".join(f"| {' | '.join(line)} |\n" for line in text), *said]) + "\n"


def table(result):
    """The figures of `lines` as a rich Table in which a narrow terminal cuts nothing off."""
    (_, _, *head), *body = lines(result)
    gains = f"Gains are over {shown(result['baseline'])}. " if compared_arms(result) else ""
    shape = Table(box=box.SIMPLE_HEAD, caption=Text(gains + over(result)), padding=(0, 1, 0, 0), pad_edge=False)
    for name in head:
        shape.add_column(name, justify="left" if name == "run" else "right", overflow="fold")
    for part, rows, run, *figures in body:
        if part:
            shape.add_row(Text(f"{shown(part)}, {rows} rows" if rows else shown(part), style="bold"))
        shape.add_row(Text(shown(run)), *figures)
    return shape


def lines(result):
    """One line per language or group and arm: figures in percent, the first with its interval, gain, p-values; where an
    arm has several runs, also the first figure of each.

    Returns a list of lists of cells, the head first; a language or group is named in its first line.
    """
    first, *others = result["task"]["shown"].values()
    found = [["language", "rows", "run", f"{first} (95 %)", *(["each run"] if several(result) else []), *others]]
    if compared_arms(result):
        found[0] += ["gain", "p", "Holm", "BH"]
    languages = _languages(result)
    for group, count, of_group in _groups(result):
        for locale, rows, figures in languages[group]:
            found += _lines(result, locale, f"{rows:,}", figures)
        found += _lines(result, f"{group}, mean of {count}", None, of_group)
    return found


def _groups(result):
    """[(group, number of languages, {run: figures})]."""
    runs = result["runs"]
    present = runs[result["baseline"]]["groups"]
    return [
        (group, present[group]["languages"], {run: of_run["groups"][group] for run, of_run in runs.items()})
        for group in GROUPS
        if group in present
    ]


def _languages(result):
    """{group: [(locale, rows, {run: figures})]}."""
    found = {group: [] for group, _, _ in _groups(result)}
    for locale, group in result["groups"].items():
        figures = {run: of_run["languages"][locale] for run, of_run in result["runs"].items()}
        found[group].append((locale, figures[result["baseline"]]["rows"], figures))
    return found


def _lines(result, label, rows, figures):
    """The lines of one language or group.   figures: {run: figures}."""
    compared, (first, *others), found = compared_arms(result), result["task"]["shown"], []
    for run, own in figures.items():
        each = own.get("each", {}).values()
        called = f"{run} ({len(each)} runs)" if each else run
        line = [label, rows, called, f"{percent(own[first])} ({between(own[f'{first}_ci'])})"]
        if several(result):
            line.append(" ".join(map(percent, each)))
        line += [percent(own[name]) for name in others]
        if run in compared:
            gain = f"{signed(own['gain'])} ({between(own['gain_ci'], signed)})"
            line += [gain, *(p_value(own[key]) if key in own else None for key in ("p", "p_holm", "p_bh"))]
        elif compared:
            line += [None] * 4
        found.append(line)
        label = rows = None
    return found


def html(result):
    """The page of a comparison."""
    failing = result[f"failing_{result['task']['part'] or 'part'}s"]
    return page("evaluation/report.html", FILTERS, **result, **parts(result), failing=failing)


def parts(result):
    """What the tables of a page show, as `runs_table.html` takes it."""
    names, data = list(result["runs"]), result["record"]["data"]
    return {
        "names": names,
        "compared": compared_arms(result),
        "colours": {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)},
        "group_parts": [(group, _counted(count, "language"), figures) for group, count, figures in _groups(result)],
        "language_parts": {
            group: [(locale, _counted(rows, "row"), figures) for locale, rows, figures in some]
            for group, some in _languages(result).items()
        },
        "source": "the embedded demo corpus" if data["source"] == "demo" else data["source"],
        "over": over(result),
        "notes": notes(result),
    }


def _counted(number, what):
    return f"{number:,} {what}{'s' * (number != 1)}"


def percent(share):
    """0.4615 -> "46.2"."""
    return f"{100 * share:.1f}"


def signed(share):
    """0.041 -> "+4.1"."""
    return f"{100 * share:+.1f}"


def between(interval, number=percent):
    """(0.41, 0.513) -> "41.0 to 51.3"."""
    return f"{number(interval[0])} to {number(interval[1])}" if interval else NO_INTERVAL


def p_value(p):
    """0.0412 -> "0.041"; the smallest ones as "<0.001"."""
    if p is None:
        return NO_P
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


FILTERS = {
    **{"percent": percent, "signed": signed, "between": between, "p_value": p_value},
    "signed_between": partial(between, number=signed),
}

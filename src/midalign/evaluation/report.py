"""A comparison as a Markdown table and as one HTML page that needs nothing else.

`result` is what scores.json holds: "runs" as `comparison.compare` gives them, "baseline", "groups" {locale: group},
"failing_slots", "examples" and "record" {"versions", "data", "models", ...}.
"""

import json
import platform
from html import escape
from importlib.metadata import version
from pathlib import Path

import jinja2

import midalign
from midalign.evaluation.comparison import compare, examples, failing_slots
from midalign.evaluation.transfer import GROUPS

TEMPLATE = Path(__file__).with_name("report.html")
# At least 3:1 against the tracks of the light and the dark page; bars are named too, so colour is never alone.
COLOURS = ("#7b7b7b", "#c06a00", "#2a7fc9", "#00875f", "#b8559a", "#7a63e0")


PACKAGES = ("torch", "transformers", "tokenizers", "peft", "trl", "datasets", "seqeval", "numpy")


def write_report(folder, rows, answers, groups, baseline, record):
    """Compare the runs and write scores.json, report.md and report.html into `folder`.

    rows, answers, groups, baseline: as `comparison.compare` takes them.   record: JSON object, kept as it is beside
    the versions of the packages. The last run is the one whose failing slots and examples are shown.
    Returns the Markdown table.
    """
    runs = compare(rows, answers, groups, baseline)
    last = list(runs)[-1]
    versions = {"midalign": midalign.__version__, "python": platform.python_version()}
    result = {
        "baseline": baseline,
        "groups": groups,
        "runs": runs,
        "failing_slots": failing_slots(runs, baseline, last),
        "examples": examples(rows, answers, baseline, last),
        "record": {"versions": versions | {package: version(package) for package in PACKAGES}, **record},
    }
    table = markdown(result)
    for name, text in (
        ("scores.json", json.dumps(result, indent=1)),
        ("report.md", table),
        ("report.html", html(result)),
    ):
        Path(folder, name).write_text(text, encoding="utf-8", errors="backslashreplace")
    return table


def markdown(result):
    """Slot F1 in percent with 95 % intervals, languages by their part in training, gains over the baseline."""
    runs, baseline = result["runs"], result["baseline"]
    compared = _compared(result)
    differences = [escape(f"{run} - {baseline}") for run in compared]
    head = ["language", "rows", *map(escape, runs)] + [head + extra for head in differences for extra in ("", ", p")]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for group in GROUPS:
        members = [locale for locale, of in result["groups"].items() if of == group]
        for locale in members:
            of_runs = [runs[run]["languages"][locale] for run in runs]
            line = [locale, str(of_runs[0]["rows"]), *map(with_interval, of_runs)]
            for run in compared:
                figures = runs[run]["languages"][locale]
                line += [signed(figures["gain"]), f"{figures['p']:.3f}"]
            lines.append(line)
        if members:
            of_runs = [runs[run]["groups"][group] for run in runs]
            line = [f"**{group}, mean of {len(members)}**", "", *map(with_interval, of_runs)]
            for run in compared:
                figures = runs[run]["groups"][group]
                line += [f"**{signed(figures['gain'])}** ({signed_interval(figures['gain_ci'])})", ""]
            lines.append(line)
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def html(result):
    """The page: text from models and data is escaped, colours follow the reader's light or dark setting."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(percent=percent, signed=signed)
    names = list(result["runs"])
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    compared = _compared(result)
    gains = [abs(figures["gain"]) for run in compared for figures in result["runs"][run]["languages"].values()]
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        result, names=names, compared=compared, colours=colours, largest_gain=max([*gains, 0.01]), order=GROUPS
    )


def _compared(result):
    """The runs that are set against the baseline: those after it. The models below adapters come before."""
    names = list(result["runs"])
    return names[names.index(result["baseline"]) + 1 :]


def percent(share):
    """0.4615 -> "46.2"."""
    return f"{100 * share:.1f}"


def signed(share):
    """0.041 -> "+4.1"."""
    return f"{100 * share:+.1f}"


def with_interval(figures):
    """F1 and its 95 % interval: "46.2 (41.0-51.3)"."""
    low, high = figures["f1_ci"]
    return f"{percent(figures['f1'])} ({percent(low)}-{percent(high)})"


def signed_interval(interval):
    """(-0.01, 0.05) -> "-1.0 to +5.0"."""
    return f"{signed(interval[0])} to {signed(interval[1])}"

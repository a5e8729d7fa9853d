"""The picture of recipes/evidence.md out of the scores.json that recipes/evidence/table.sh writes.

    python recipes/evidence/picture.py data/evidence-{test,rest}/intents/scores.json --arm context_gentle --output PNG

The first file's arms, what each gains over the run without alignment, with 95 % intervals; beside them the accuracy of
each language of all files, without alignment and with the arm.
"""

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure

from midalign.languages import language_of
from midalign.pages import COLOURS

PARTS = {"aligned": COLOURS[3], "never aligned": COLOURS[0], "supervised": COLOURS[1]}


def draw_gains(axes, scores):
    """Arms down, gains across: a point and its interval for each part in training."""
    runs = {name: run for name, run in scores["runs"].items() if name != scores["baseline"]}
    order = sorted(runs, key=lambda name: runs[name]["groups"]["aligned"]["gain"])
    for place, name in enumerate(order):
        for offset, (part, color) in zip((0.2, 0, -0.2), PARTS.items(), strict=True):
            figures = runs[name]["groups"][part]
            low, high = (100 * end for end in figures["gain_ci"])
            axes.plot([low, high], [place + offset] * 2, color=color, linewidth=1.5)
            axes.plot(100 * figures["gain"], place + offset, "o", color=color, markersize=4)
    seeds = [len(runs[name]["seeds"]) for name in order]
    labels = [f"{name}, {count} seed{'s' * (count > 1)}" for name, count in zip(order, seeds, strict=True)]
    axes.set_yticks(range(len(order)), labels)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"gain over {scores['baseline']}, points of accuracy")
    for part, color in PARTS.items():
        axes.plot([], [], "o-", color=color, markersize=4, label=part)
    axes.legend(loc="lower right", frameon=False)


def draw_languages(axes, files, arm):
    """Languages down, accuracy across: from without alignment to the arm."""
    base = files[0]["baseline"]
    part = {locale: group for scores in files for locale, group in scores["groups"].items()}
    without, with_arm = (
        {locale: 100 * own["accuracy"] for scores in files for locale, own in scores["runs"][name]["languages"].items()}
        for name in (base, arm)
    )
    order = sorted(without, key=without.get)
    for place, locale in enumerate(order):
        color = PARTS[part[locale]]
        axes.plot([without[locale], with_arm[locale]], [place] * 2, color=color, linewidth=2)
        axes.plot(without[locale], place, "o", color="white", markeredgecolor=color, markersize=5)
        axes.plot(with_arm[locale], place, "o", color=color, markersize=5)
    axes.set_yticks(range(len(order)), [language_of(locale) for locale in order])
    axes.set_xlabel(f"accuracy in percent\nhollow {base}, filled {arm}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="+", type=Path)
    parser.add_argument("--arm", required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    files = [json.loads(path.read_text(encoding="utf-8")) for path in options.scores]
    figure = Figure(figsize=(10, 4.6), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    draw_gains(left, files[0])
    draw_languages(right, files, options.arm)
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(options.output)


if __name__ == "__main__":
    main()

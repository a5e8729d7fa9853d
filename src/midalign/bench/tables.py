"""The figures of `Bench` as tables for a terminal."""

from itertools import count

from rich.table import Table

from midalign.bench.training import Bench

NAMES = {
    "task/ours": "task rows, midalign",
    "task/trl": "task rows, trl.SFTTrainer",
    "task/sft": "task rows, midalign without prefix sharing",
    "pairs/ours": "pairs, midalign",
    "pairs/naive": "pairs, output_hidden_states",
    "pairs/bare": "pairs, the bare layers",
}
BAR = 40  # characters of the longest bar


def bench_recipe(argv, against, repeats, growth, progress):
    """Measure a recipe's micro-batch; yields what there is to print as it comes.

    argv: as `read_recipe` takes it.   against: some of trl, naive.   growth: also larger and smaller ones.
    progress: rich's, which shows what is measured and how many turns there are.   Raises InputError.
    """
    bar, done = progress.add_task("reading recipe, data and model", total=None), count()
    bench = Bench(argv, lambda what: progress.update(bar, description=f"timing {what}", completed=next(done)))
    axes = axes_of(bench, against) if growth else []
    names = 3 * len(against) + 2 * (len(against) == 2) + 2 * sum(len(values) for _, values, *_ in axes)
    progress.update(bar, total=(repeats + 1) * names + 2 * ("trl" in against))
    for name in sorted(against, reverse=True):  # one half after the other: a large step would leave cold caches
        half = candidates_of(bench, name)
        yield half_table(half, bench.measure(half, repeats))
    if "trl" in against:
        yield f"largest difference between the gradients of ours and TRL's: {bench.gradient_difference():.1e}, relative"
    if {"trl", "naive"} <= set(against):
        yield breakdown_table(bench, repeats)
    for axis in axes:
        yield _growth(*axis, bench, repeats)


def candidates_of(bench, against):
    """{name: Candidate} of the half that is compared with trl or naive."""
    half, make = {"trl": ("task", bench.task), "naive": ("pairs", bench.pair_half)}[against]
    return {name: make(name.split("/")[1]) for name in NAMES if name.startswith(half)}


def half_table(candidates, measured):
    """Of one half, rows and tokens a second, padding, memory and time of each candidate, and its time beside ours."""
    table = Table(title="forward and backward of half a micro-batch, medians", title_justify="left")
    table.add_column("")
    for column in ("rows/s", "tokens/s", "computed", "padding %", "seconds", "peak MiB", "time / ours", "peak / ours"):
        table.add_column(column, justify="right")
    for name, candidate in candidates.items():
        seconds, peak = measured[name]
        own_seconds, own_peak = measured[name.split("/")[0] + "/ours"]
        padding = max(0.0, 1 - candidate.tokens / candidate.computed)
        table.add_row(
            NAMES[name],
            f"{candidate.rows / seconds:.2f}",
            f"{candidate.tokens / seconds:.0f}",
            f"{candidate.computed:,} of {candidate.tokens:,}",
            f"{100 * padding:.1f}",
            f"{seconds:.3f}",
            f"{peak:,.0f}",
            f"{seconds / own_seconds:.2f}",
            f"{peak / own_peak:.2f}" if own_peak else "",
        )
    table.caption = "computed: tokens that go through the layers, of the tokens in the rows"
    return table


def axes_of(bench, against):
    """What grows, to which values, made how, beside what: list of (name, values, make, plain, changes of a value)."""
    axes = []
    if "trl" in against:
        rows = [max(bench.batch_size // 4, 1), max(bench.batch_size // 2, 1)]
        axes.append(("task rows", rows, bench.task, "trl", lambda n: {"count": n}))
    if "naive" not in against:
        return axes
    pairs, depth = min(bench.pair_batch_size, len(bench.pairs)), len(bench.decoder.layers)
    half = max(pairs // 2, min(pairs, 4 if bench.ours.args.align_loss == "cka" else 1))  # CKA is defined from 4 on
    larger = [size for size in (64_000, 128_000, 256_000) if size > bench.decoder.embed_tokens.num_embeddings]
    for axis, values, changes in (
        ("pairs", sorted({half, min(2 * pairs, len(bench.pairs))} - {pairs}), lambda n: {"count": n}),
        ("layer", [max(depth // 4, 1), 3 * depth // 4], lambda n: {"layer": n}),
        ("vocabulary", larger, lambda n: {"vocabulary": n}),
        (f"{half} pairs, times the length", [1, 2, 4], lambda n: {"count": half, "stretch": n}),
    ):
        axes.append((axis, values, bench.pair_half, "naive", changes))
    return axes


def _growth(axis, values, make, plain, changes, bench, repeats):
    """Seconds and memory of ours and of the plain path as one thing grows, see `axes_of`."""
    table = Table(title=f"as this grows: {axis}", title_justify="left")
    for column in ("", "ours s", f"{plain} s", "time ratio", "ours MiB", f"{plain} MiB", "memory ratio"):
        table.add_column(column, justify="right")
    for value in values:
        changed = changes(value)
        with bench.vocabulary(changed.pop("vocabulary", None)):
            measured = bench.measure({who: make(who, **changed) for who in ("ours", plain)}, repeats)
        (seconds, peak), (other, other_peak) = measured["ours"], measured[plain]
        figures = [f"{seconds:.3f}", f"{other:.3f}", f"{other / seconds:.2f}", f"{peak:,.0f}", f"{other_peak:,.0f}"]
        table.add_row(f"{value:,}", *figures, f"{peak / other_peak:.2f}" if other_peak else "")
    table.caption = f"time ratio: {plain} / ours; memory ratio: ours / {plain}"
    return table


def breakdown_table(bench, repeats):
    """Where the time of a whole micro-batch goes, plain (TRL and the naive forward) and ours."""
    found = bench.breakdown(repeats)
    table = Table(title="one micro-batch and optimizer step, median seconds", title_justify="left")
    for column in ("phase", "plain", "", "ours", ""):
        table.add_column(column, justify="left" if column == "" else "right")
    longest = max(found["plain"].values())
    for phase in dict.fromkeys([*found["plain"], *found["ours"]]):
        cells = []
        for seconds in (found[who].get(phase, 0.0) for who in ("plain", "ours")):
            cells += [f"{seconds:.3f}", "█" * round(BAR * seconds / longest)]
        table.add_row(phase, *cells)
    plain, ours = (sum(found[who].values()) for who in ("plain", "ours"))
    table.add_row("sum", f"{plain:.3f}", "", f"{ours:.3f}", "", style="bold")
    table.caption = f"plain / ours: {plain / ours:.2f}"
    return table

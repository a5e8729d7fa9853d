"""`midalign merge` and `midalign export`."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from midalign.cli.app import Data, Dtype, Revision, app, task_and_source
from midalign.console import console
from midalign.errors import InputError
from midalign.texts import place_of


class Method(StrEnum):
    """How two updates become one."""

    sum = "sum"
    slerp = "slerp"
    swap = "swap"
    ties = "ties"
    dare = "dare"


class Format(StrEnum):
    """Of an exported model."""

    safetensors = "safetensors"
    gguf = "gguf"


class Outtype(StrEnum):
    """Precision of a GGUF file."""

    f32 = "f32"
    f16 = "f16"
    bf16 = "bf16"
    q8_0 = "q8_0"


@app.command()
def merge(
    task: Annotated[str, typer.Option(help="Adapter that knows the task: a folder, or a trained recipe.")],
    align: Annotated[str, typer.Option(help="Adapter that knows the languages (align_schedule: align_only).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the merged adapter.")],
    weights: Annotated[tuple[float, float], typer.Option(help="Of the task's and the alignment's update.")] = (1, 1),
    method: Annotated[
        Method, typer.Option(help="sum and slerp of the updates; swap layers; ties and dare drop entries.")
    ] = Method.sum,
    borders: Annotated[
        tuple[int, int] | None,
        typer.Option(help="swap: the task's update in layers FIRST to LAST - 1, the alignment's in the others."),
    ] = None,
    density: Annotated[float | None, typer.Option(help="ties and dare: the share of entries that is kept.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Cut to this rank; the ranks add up when unset.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="Of the written weights.")] = Dtype.float32,
    base: Annotated[str | None, typer.Option(help="The base model, where the adapters name two.")] = None,
    logits: Annotated[bool, typer.Option(help="Compare logits on the base model, in float32.")] = True,
    sweep: Annotated[
        str | None, typer.Option(help="Weights of the alignment's update to try on development rows: 0.3,0.5,1.")
    ] = None,
    kind: Annotated[str, typer.Option("--sweep-task", help="sweep: what the rows are, as task in a recipe.")] = "slots",
    data: Data = None,
    revision: Revision = None,
    locales: Annotated[list[str] | None, typer.Option("--locale", help="sweep: sw,cy or repeated.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="sweep: development rows of each locale.")] = 200,
):
    """Give a task adapter the languages of an alignment adapter, without training.

    Writes a plain PEFT folder. Its update is the weighted sum of both, to the last digit float32 has; --rank makes it
    smaller and prints what that costs. With --sweep the alignment's weight is the one whose answers to validation rows
    are best on average; what was tried stays in OUTPUT-sweep. `midalign evaluate OUTPUT TASK` says what it brought.
    """
    from midalign.models.merged import free_place
    from midalign.models.merged import merge as merge_adapters

    free_place(output)
    task, align = _adapters(task, align, base)
    options = {"rank": rank, "dtype": dtype.value, "base": base, "check_logits": logits}
    if sweep is not None:
        if method is not Method.sum or not locales:
            raise InputError("--sweep tries weights of a sum on rows of languages; leave --method out, give --locale.")
        weights = (1.0, _best_weight(kind, task, align, output, sweep, data, revision, locales, rows, options))
    record = merge_adapters(task, align, output, method.value, weights, borders=borders, density=density, **options)
    lines = [("rank", str(record["rank"])), ("relative error of the update", f"{record['relative_error']:.1e}")]
    if record["logits"]:
        gap, largest = record["logits"]["largest_gap"], record["logits"]["largest_logit"]
        lines.append(("largest difference of a logit", f"{gap:.1e} (the largest logit is {largest:.1f})"))
    _print(output, lines, record["notes"])


def _best_weight(kind, task, align, output, sweep, data, revision, locales, count, options):
    """The alignment's weight with the best mean F1 on validation rows; prints what was tried."""
    from midalign.cli.evaluation import split_languages
    from midalign.data.reading import task_rows
    from midalign.data.streams import sample
    from midalign.models.sweep import sweep as try_weights

    try:
        weights = [float(weight) for weight in sweep.split(",")]
    except ValueError as error:
        raise InputError(f"--sweep {sweep}: give numbers with commas between them, such as 0.3,0.5,1.") from error
    kind, data, revision = task_and_source(kind, data, revision)
    names = split_languages(kind, locales, data)
    rows = {name: sample(task_rows(kind, data, name, "validation", revision), count) for name in names}
    with Progress(console=console()) as progress:
        bar = progress.add_task("answers", total=len(weights) * sum(map(len, rows.values())))
        folder = output.with_name(f"{output.name}-sweep")
        result = try_weights(
            kind, task, align, folder, weights, rows, advance=partial(progress.advance, bar), **options
        )
    table = Table(
        title=f"{kind.shown[kind.compared]} on {count} validation rows of each locale, percent", title_justify="left"
    )
    for column in ("weight of the alignment", *names, "mean"):
        table.add_column(column, justify="right")
    for weight, scores in result["weights"].items():
        cells = [f"{100 * scores[name]:.1f}" for name in (*names, "mean")]
        table.add_row(f"{weight:g}", *cells, style="bold" if weight == result["chosen"] else None)
    console().print(table)
    return result["chosen"]


def _adapters(task, align, base):
    """The folders of both adapters.   base: given or None."""
    from midalign.models.adapters import CONFIG
    from midalign.models.runs import find_run

    folders = []
    for name in (task, align):
        folder = Path(name)
        if not (base and (folder / CONFIG).is_file()):  # with --base it does not matter where the adapter's own is
            run = find_run(name)
            if not run.adapter:
                raise InputError(f"{name} is a whole model; merge takes two LoRA adapters of one base.")
            folder = run.adapter
        folders.append(folder)
    return folders


def _print(output, rows, notes):
    table = Table(show_header=False, title=place_of(output), title_justify="left")
    for row in rows:
        table.add_row(*row)
    for note in notes:
        table.add_row("note", note)
    console().print(table)


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A trained recipe, an adapter folder, or a model.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the model.")],
    dtype: Annotated[Dtype | None, typer.Option(help="Of the written weights; the base's own when unset.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="Prompts that both answer.")] = 24,
    data: Annotated[str | None, typer.Option(help="Their rows; else the recipe's, else the embedded corpus.")] = None,
    locales: Annotated[list[str] | None, typer.Option("--locale", help="en-US,sw or repeated.")] = None,
    revision: Revision = None,
    format: Annotated[Format, typer.Option(help="gguf adds model.gguf and a Modelfile.")] = Format.safetensors,
    converter: Annotated[Path | None, typer.Option(help="llama.cpp's convert_hf_to_gguf.py.")] = None,
    outtype: Annotated[Outtype, typer.Option(help="Of the GGUF file.")] = Outtype.bf16,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts answered at a time.")] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Where an answer is cut.")] = 128,
):
    """Write a run as one plain model, for vLLM, transformers or llama.cpp, and check that it still is the run.

    The adapter goes into the unquantised base in float32, then the weights are cast. Before the folder is put in its
    place, its logits and its answers to --rows prompts are compared with the run's: printed, and in export.json.
    """
    from midalign.models import gguf
    from midalign.models.export import export as export_run
    from midalign.models.runs import find_run

    script = gguf.find_converter(converter) if format is Format.gguf else None
    found = find_run(run)
    chats = _chats(found, data, locales, revision, rows)
    record = export_run(found, output, chats, dtype and dtype.value, batch_size, max_new_tokens)
    gap, largest = record["logits"]["largest_gap"], record["logits"]["largest_logit"]
    lines = [("largest difference of a logit", f"{gap:.1e} (the largest logit is {largest:.1f})")]
    if chats:
        lines.append(("equal answers", f"{100 * record['answers']['equal']:.1f} % of {len(chats)}"))
    if script:
        lines += gguf.write(output, script, outtype.value)
    _print(output, lines, record["adapter_notes"])


def _chats(run, data, locales, revision, count):
    """`count` prompts, the first test rows of every locale in turn."""
    from midalign.cli.evaluation import source_of, task_of_runs
    from midalign.data.reading import task_rows
    from midalign.demo import corpus
    from midalign.tasks import find_task

    if not count:
        return []
    if data or run.data:
        task, recipe = task_of_runs([run], None)
    else:  # any prompts compare a model with its copy
        task, recipe, data, locales = find_task("slots"), None, "demo", locales or list(corpus.DEMO_LOCALES)
    names, data, revision = source_of(task, recipe, locales, data, revision)
    each = [task_rows(task, data, name, "test", revision) for name in dict.fromkeys(names)]
    turns = (rows[i] for i in range(max(map(len, each), default=0)) for rows in each if i < len(rows))
    return [task.prompt(row) for row, _ in zip(turns, range(count), strict=False)]

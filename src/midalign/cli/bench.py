"""`midalign bench`."""

from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn
from rich.table import Table

from midalign.cli.app import Dtype, Revision, app
from midalign.cli.evaluation import source_of, task_of_runs
from midalign.console import console
from midalign.errors import InputError
from midalign.shipped import is_recipe


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A recipe, with --key value to change it, an adapter folder or a model.")],
    against: Annotated[
        str | None,
        typer.Option(help="trl,naive: training, default for a recipe; lm_eval: generation, default for other runs."),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Turns of each, medians are shown; 3 for training, 1 for generation.")
    ] = None,
    growth: Annotated[bool, typer.Option(help="Training: also as batch, length, layer and vocabulary grow.")] = True,
    locales: Annotated[list[str] | None, typer.Option("--locale", help="Generation: en-US,sw or repeated.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Generation: test rows of each locale.")] = 100,
    data: Annotated[str | None, typer.Option(help="Generation: a folder, a hub data set or `demo`.")] = None,
    revision: Revision = None,
    dtype: Annotated[Dtype | None, typer.Option(help="bfloat16, ...; recipe's or checkpoint's if unset.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Generation: prompts answered at a time, by both.")] = 32,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Generation: where an answer is cut.")] = 128,
):
    """What a training step costs beside plain TRL and the naive forward, or generation beside `lm_eval --model hf`."""
    names = set((against or ("trl,naive" if is_recipe(run) else "lm_eval")).split(","))
    if names <= {"trl", "naive"}:
        from midalign.bench.tables import bench_recipe

        argv = [run, *context.args, *(("--dtype", dtype.value) if dtype else ())]
        with _progress() as progress:  # above whose bar each part is printed
            for part in bench_recipe(argv, names, repeats or 3, growth, progress):
                progress.console.print(part)
    elif names == {"lm_eval"}:
        if context.args:
            raise InputError(f"{context.args[0]} is no option of bench against lm_eval; see midalign bench --help.")
        source = (locales, data, revision)
        console().print(_bench_generation(run, source, rows, dtype, batch_size, max_new_tokens, repeats or 1))
    else:
        raise InputError(f"--against {against}: use trl, naive, trl,naive or lm_eval.")


def _progress():
    """What is measured, how much is left, and since when: on a terminal, and gone at the end."""
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn())
    return Progress(*columns, console=console(), transient=True)


def _bench_generation(run, source, rows, dtype, batch_size, max_new_tokens, repeats):
    from midalign.evaluation.lm_link import require_lm_eval
    from midalign.models.runs import find_run, load_run

    require_lm_eval()
    from midalign.bench.generation import compare_generation

    found = find_run(run, dtype and dtype.value)
    task, recipe = task_of_runs([found], None)
    if task.name != "slots":
        raise InputError(f"{found.name} has learned {task.name}; --against lm_eval is measured with slots alone.")
    names, data, revision = source_of(task, recipe, *source)
    model, tokenizer = load_run(found)
    sizes = rows, batch_size, max_new_tokens, repeats
    with _progress() as progress:
        result = compare_generation(model, tokenizer, data, revision, names, *sizes, progress)
    table = Table(title=f"{found.name}, {result['rows']} rows, batch size {batch_size}")
    for column in ("", "rows a second"):
        table.add_column(column, justify="right")
    table.add_row("midalign evaluate", f"{result['ours']:.2f}")
    table.add_row("lm_eval --model hf", f"{result['lm_eval']:.2f}")
    table.add_row("ratio", f"{result['ratio']:.2f}", style="bold")
    table.caption = f"{100 * result['equal']:.1f} % of the answers are equal"
    return table

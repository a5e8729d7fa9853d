"""`midalign evaluate` and `midalign link-tasks`."""

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from midalign.cli.app import (
    COMET,
    REVISION,
    CometModel,
    CometPython,
    Dtype,
    Partition,
    Revision,
    app,
    source_of_task,
    task_named,
)
from midalign.cli.arms import arms_of, members, require_seeds
from midalign.console import console
from midalign.errors import InputError
from midalign.texts import place_of, quoted, shown, without_secrets


@app.command()
def evaluate(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Trained recipes, adapter folders, models, counts.json of runs; NAME=RUN,RUN,... for seeds."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for answers, scores and report.")] = Path("data/evaluation"),
    locales: Annotated[list[str] | None, typer.Option("--locale", help="en-US,sw or repeated.")] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Test rows of each locale; else score_rows, else all.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="What is asked; else what the run has learned, else slots.")] = None,
    data: Annotated[str | None, typer.Option(help="Rows: a folder, a hub data set or `demo`.")] = None,
    revision: Revision = None,
    partition: Annotated[Partition, typer.Option(help="Part of the data that is answered.")] = Partition.test,
    supervised: Annotated[list[str] | None, typer.Option(help="Locales that had labels.")] = None,
    aligned: Annotated[list[str] | None, typer.Option(help="Locales that had translation pairs only.")] = None,
    base: Annotated[bool, typer.Option(help="Evaluate the models below the adapters too.")] = True,
    dtype: Annotated[Dtype | None, typer.Option(help="bfloat16, ...; recipe's or checkpoint's if unset.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts answered at a time.")] = 32,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Where an answer is cut; else the task's.")] = None,
    comet_python: CometPython = None,
    comet_model: CometModel = COMET,
):
    """Scores per language of one or several models side by side, with a report.

    Gains are over the first run that is named; a single run is compared with the model below it. Data, locales, rows
    and who was supervised or aligned come from the options, else from the first recipe, else from the paper. A run
    that was cut goes on where it stopped.

    One run is one seed, and its intervals are over utterances. Several of an arm, task=out/sft-1,out/sft-2 or
    task=out/sft-{1,2,3}, have a mean, and intervals and p over seeds and utterances; gains are between runs of one
    seed. The counts.json that is written beside a run's answers can be named in its place.
    """
    from midalign.models.nearby import require_model_name

    told = members(runs)
    for member in told:
        if not member.is_counts:
            require_model_name(member.place)  # before the imports below, which take seconds

    from midalign.data.checks import Sieve
    from midalign.evaluation.answers import answer
    from midalign.evaluation.comet import judge, require_comet
    from midalign.evaluation.counts import NAME, asked_of, counted, read_counts, require_comparable, write_counts
    from midalign.evaluation.report import FILES, notes, table, write_report
    from midalign.files import require_own_files
    from midalign.models.learned import seed_of
    from midalign.models.runs import find_run, load_run, with_bases

    found = {m: read_counts(m.place) if m.is_counts else find_run(m.place, dtype and dtype.value) for m in told}
    files = [own for member, own in found.items() if member.is_counts]
    named = [own for member, own in found.items() if not member.is_counts]
    everyone = with_bases(named) if base else named
    bases = [(None, run.name) for run in everyone[: len(everyone) - len(named)]]
    arms = arms_of([*bases, *((m.arm, found[m].run.name if m.is_counts else found[m].name) for m in told)])
    seeds = {name: None for _, name in bases}  # what a base was trained with is no arm's seed
    seeds |= {run.name: seed_of(run) for run in named} | {file.run.name: file.run.seed for file in files}
    require_seeds(arms, seeds)
    for run in everyone:
        if not run.name or run.name.casefold() in FILES:
            raise InputError(
                f"{output / run.name} holds the report, not the answers of a run; rename the folder {shown(run.name)}."
            )
    require_own_files(output, FILES, {"baseline", "groups", "runs"}, "evaluate")
    kind, recipe = task_of_runs(named, task) if named else (_task_of_counts(files, task), None)
    if comet_python:
        require_comet(kind, comet_python)
    rows = rows or (recipe.score_rows if recipe else None)
    if named:
        max_new_tokens = max_new_tokens or kind.max_new_tokens
        where = source_of(kind, recipe, locales, data, revision)
        sieve = Sieve(recipe.on_bad_row if recipe else "error")
        rows_by_locale, source = _rows(kind, *where, partition.value, rows, sieve)
        sieve.settle()
        asked = asked_of(kind, partition.value, source["sha256"], max_new_tokens)
    elif locales or data or rows or comet_python:
        raise InputError("counts.json has its rows and no answers; leave out --locale, --data, --rows and COMET.")
    else:
        rows_by_locale, source = {}, files[0].record["data"]
        given = {"partition": partition.value} if partition is not Partition.test else {}
        given |= {"max_new_tokens": max_new_tokens} if max_new_tokens else {}
        asked = {**files[0].asked, "task": kind.label, **given, **({"sha256": kind.sha256} if kind.sha256 else {})}
    require_comparable(kind, asked, source["rows"], files)
    groups = _groups_of_all(kind, named, files, source, supervised, aligned)
    models = _models(everyone, output)
    answers = {}
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console()) as progress:
        total = sum(map(len, rows_by_locale.values()))
        bars = {run.name: progress.add_task(escape(shown(run.name)), total=total) for run in everyone}
        for run in everyone:
            answers[run.name] = answer(
                kind,
                rows_by_locale,
                output / run.name,
                models[run.name],
                partial(load_run, run, models[run.name]["chat"]["date"]),
                batch_size,
                max_new_tokens,
                partial(progress.advance, bars[run.name]),
            )
    if comet_python:
        asked_rows = [(locale, row, i) for locale, some in rows_by_locale.items() for i, row in enumerate(some)]
        every = [(row, of_run[locale][i]) for of_run in answers.values() for locale, row, i in asked_rows]
        judge(kind, comet_python, comet_model, every)
    counts = {file.run.name: file.run for file in files}
    for run, of_run in answers.items():
        counts[run] = counted(kind, run, rows_by_locale, of_run, seeds[run])
        told_of = {"data": _without_folders(source), "model": _without_folders(models[run])}
        write_counts(output / run / NAME, kind, counts[run], groups, asked, told_of)
    record = {
        **{"data": source, "models": models | {file.run.name: file.record["model"] for file in files}},
        "max_new_tokens": asked["max_new_tokens"],
        **({"comet": comet_model} if comet_python else {}),
    }
    baseline = list(arms)[len(bases) if len(arms) > len(bases) + 1 else 0]
    of_arms = {arm: [counts[run] for run in some] for arm, some in arms.items()}
    result = write_report(kind, output, rows_by_locale, answers, groups, baseline, record, of_arms)
    console().print(table(result), *notes(result), sep="\n\n")
    more = ", what fails most and examples" if answers else ""
    print(f"{place_of(output / 'report.html')} has the intervals as bars{more}.")


def _without_folders(record):
    """A record of data or a model with the last part of a path only: where things lie is nobody's business."""
    return {k: os.path.basename(v) if isinstance(v, str) and os.path.isdir(v) else v for k, v in record.items()}


def _task_of_counts(files, task):
    """The task of files of counts: as told, else the one of the first. Raises InputError."""
    from midalign.tasks import find_task

    asked = files[0].asked
    own = str(asked.get("task"))
    if task is None and ("sha256" in asked or own.endswith(".py")):  # which is code: as `models.learned.learned`
        raise InputError(f"{place_of(files[0].path)} is of a task in a file; give --task, the file to score by.")
    return task_named(task)[0] if task else find_task(own)


def _models(runs, output):
    """{name: what the answers of a run depend on}.

    The date in a prompt is that of training; a model that was not trained here has the one that its answers in `output`
    have, else that of the other runs, else today.
    """
    from midalign.data.templates import chat_record
    from midalign.evaluation.answers import kept_day
    from midalign.models.runs import fingerprint, load_run_tokenizer

    models, day = {}, None
    for run in sorted(runs, key=lambda run: run.adapter is None and run.data is None):
        chat = chat_record(load_run_tokenizer(run, kept_day(output / run.name) or day))
        models[run.name], day = {**fingerprint(run), "chat": chat}, day or chat["date"]
    return {run.name: models[run.name] for run in runs}


def _recipe(named, task=None):
    """The data block of the first recipe among the runs, None without one.

    task: the one whose part of it is meant; the first where it is None or none of the recipe's.
    """
    each = next((run.data.each() for run in named if run.data), [None])
    return next((own for own in each if own and own.task == task), each[0])


def task_of_runs(named, task):
    """(the task that is asked, the data block of the recipe that says where its rows are, or None).

    task: as told, else the first of the first recipe, else what the first run's record says, else slots; asked as the
    recipe or the record has it. Raises InputError, also where another run has learned it with another instruction.
    """
    from midalign.models.learned import learned, recorded
    from midalign.tasks import tasks_of

    each = next((tasks_of(run.data) for run in named if run.data), ())
    kind = next((kind for kind in each if task in (None, kind.name, kind.label)), None)
    own = _recipe(named, kind and kind.name)
    kind = kind or next((kind for run in named if (kind := learned(run, task))), None)
    if not kind:
        kind, told = task_named(task or "slots")
        return kind, told or own
    for run in named:
        trained = recorded(run, kind.name)
        words = trained and trained.instruction
        if words and words not in (kind.instruction, without_secrets(kind.instruction or "")):
            raise InputError(
                f"{run.name} has learned {kind.label} with the instruction {quoted(words)}, and "
                f"{quoted(kind.instruction or '')} would be asked; evaluate it by itself, by its folder, or name with "
                "--task a recipe that has the instruction to ask."
            )
    return kind, own


def split_languages(task, values, source):
    """["en,sw", "cy"] -> the languages of rows in `source` that are meant, each once."""
    return list(dict.fromkeys(task.language(name.strip(), source) for value in values for name in value.split(",")))


def source_of(task, recipe, locales, data, revision):
    """(languages, data, revision): as given, else of a recipe's data block, else the published ones.

    Raises InputError.
    """
    data = data or (recipe.task_data if recipe else source_of_task(task, None))
    if locales:
        locales = split_languages(task, locales, data)
    else:
        locales = (recipe and recipe.score_languages) or [*task.supervised, *task.aligned]
    if not locales:
        raise InputError(f"task {task.name} has no languages of its own; give --locale.")
    return locales, data, revision or (recipe.task_revision if recipe else REVISION)


def _rows(task, locales, data, revision, partition, count, sieve):
    """({locale: rows}, where they are from).   sieve: see `task_rows`."""
    from midalign.data.reading import task_rows
    from midalign.data.streams import sample

    locales = list(dict.fromkeys(locales))
    rows = {locale: sample(task_rows(task, data, locale, partition, revision, sieve), count) for locale in locales}
    content = [{key: row[key] for key in row if key != "place"} for own in rows.values() for row in own]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    source = {"source": data, "revision": None if data == "demo" or os.path.isdir(data) else revision}
    return rows, {**source, "partition": partition, "rows": {k: len(v) for k, v in rows.items()}, "sha256": digest}


def _groups(task, named, locales, source, supervised, aligned):
    """{locale: its part in training}.   source: of the rows."""
    from midalign.evaluation.transfer import group_of
    from midalign.models.runs import aligned_languages

    recipe = _recipe(named, task.name)
    given = split_languages(task, supervised, source) if supervised else None
    supervised = given or (recipe.task_languages if recipe else task.supervised)
    if aligned or not recipe:
        languages = split_languages(task, aligned, source) if aligned else task.aligned
        languages = set().union(*map(task.spoken, languages))
    else:
        languages = set().union(*(aligned_languages(run.data) for run in named if run.data))
    return {locale: group_of(task, locale, supervised, languages) for locale in locales}


def _groups_of_all(task, named, files, source, supervised, aligned):
    """{locale: its part in training}, the strongest in any run: as told, of recipes, and of files of counts."""
    from midalign.evaluation.transfer import GROUPS

    told = bool(supervised or aligned)
    found = [file.groups for file in files if not told]
    if named or told:
        found.append(_groups(task, named, source["rows"], source["source"], supervised, aligned))
    return {locale: min((own[locale] for own in found), key=GROUPS.index) for locale in source["rows"]}


@app.command()
def link_tasks(
    remove: Annotated[bool, typer.Option("--remove", help="Take the links away again.")] = False,
):
    """Make `lm_eval --tasks massive_slots` work without --include_path.

    Puts one link per task file into the folder where the installed lm-eval keeps its tasks. Undo it with --remove,
    best before uninstalling lm-eval: pip would leave that folder behind.
    """
    from midalign.evaluation.lm_link import link_tasks, unlink_tasks

    for folder in unlink_tasks() if remove else link_tasks():
        print(f"{folder} {'is gone' if remove else f'shows {folder.name} to lm_eval'}.")

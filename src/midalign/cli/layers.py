"""`midalign layers`."""

import hashlib
import logging
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, TimeElapsedColumn

from midalign.cli.app import Dtype, app
from midalign.console import console
from midalign.errors import InputError
from midalign.languages import language_of
from midalign.texts import place_of, shown, squeeze

DEMO = "demo"
POOLINGS = ("mean", "weighted", "last")
MOST = 1 << 26  # bytes of a scores.json

logger = logging.getLogger("midalign")


class Directions(StrEnum):
    """Which pairs of languages."""

    pivot = "pivot"
    all = "all"


@app.command()
def layers(
    models: Annotated[list[str], typer.Argument(help="Models, trained recipes, adapter folders, or `demo`.")],
    pairs: Annotated[list[str], typer.Option(help="Translation pairs: files, a folder or `demo`, as align_data.")],
    adapter: Annotated[str | None, typer.Option(help="Show the one MODEL with this adapter, too.")] = None,
    languages: Annotated[list[str] | None, typer.Option("--language", help="de,sw or repeated; else all.")] = None,
    pivot: Annotated[str, typer.Option(help="The language that one side of every pair is in.")] = "en",
    directions: Annotated[
        Directions, typer.Option(help="pivot: each language with the pivot; all: every one with every other.")
    ] = Directions.pivot,
    sentences: Annotated[int, typer.Option(min=2, help="Pairs of each language.")] = 500,
    poolings: Annotated[
        list[str] | None, typer.Option("--pooling", help="mean,weighted,last,bos or repeated; the first recommends.")
    ] = None,
    skip_first: Annotated[bool, typer.Option("--skip-first", help="As align_pool_skip_first: not BOS.")] = False,
    max_length: Annotated[int, typer.Option(min=1, help="Tokens; pairs with a longer side are left out.")] = 512,
    base: Annotated[bool, typer.Option(help="Show the models below the adapters too.")] = True,
    dtype: Annotated[Dtype | None, typer.Option(help="bfloat16, ...; recipe's or checkpoint's if unset.")] = None,
    scores: Annotated[Path | None, typer.Option(help="scores.json of `midalign evaluate`, of these models.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of pairs on the hub.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for table and page.")] = Path("data/layers"),
):
    """Where languages meet inside a model: retrieval, MEXA, CKA and more at every layer, and the align_layer to take.

    Writes layers.html, layers.json and layers.csv. Several models, or a model before and after an adapter, come in one
    picture. Sentences that most languages have are taken first; all models see the same.
    """
    from midalign.models.nearby import require_model_name

    for name in models:
        if name != DEMO:
            require_model_name(name)  # before the imports below, which take seconds

    from midalign.analysis import page
    from midalign.analysis.layers import measure
    from midalign.analysis.recommendation import correlation, recommend
    from midalign.analysis.results import lines_of, summary
    from midalign.analysis.sides import layout
    from midalign.models.runs import fingerprint

    page.require_own(output)
    every, poolings, pivot = directions is Directions.all, _poolings(poolings), _language(pivot)
    transfer, title = _scores(scores, pivot) if scores else ({}, None)
    runs = _runs(models, adapter, base, dtype and dtype.value, output)
    _require_scored(runs, transfer, scores)
    chosen, left_out = _pairs(pairs, languages, pivot, revision, sentences, every)
    ids, unfit = _token_ids(runs, chosen, max_length)
    texts, sides, couples = layout(chosen, pivot, every)
    found, lines = {}, []
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console()) as progress:
        for run in runs:
            name = escape(shown(run.name))
            bar = progress.add_task(f"{name}: states", total=len(texts))
            states = _states(run, [ids[run.name][text] for text in texts], poolings, skip_first, progress, bar)
            of_run = {"layers": len(states[poolings[0]]) - 1, "poolings": {}}
            for pooling in poolings:
                own = states.pop(pooling)
                bar = progress.add_task(f"{name}: {pooling}", total=len(own))
                measured = measure(own, sides, couples, partial(progress.advance, bar))
                of_run["poolings"][pooling] = summary(measured, sides, couples, None if every else pivot)
                lines += lines_of(run.name, pooling, measured, sides, couples)
                if pooling == poolings[0]:
                    best = recommend(measured.right, measured.asked, _chance(sides, couples))
                    of_run["recommendation"] = best
            if best and run.name in transfer:
                of_languages = of_run["poolings"][poolings[0]]["languages"]
                retrieval = {name: own["retrieval_at_1"][best["layer"]] for name, own in of_languages.items()}
                of_run["transfer"] = {"figure": title, **correlation(retrieval, transfer[run.name])}
            found[run.name] = of_run
    result = {
        "pivot": pivot,
        "directions": directions.value,
        "sentences": {language: len(own) for language, own in chosen.items()},
        "models": found,
        "record": {
            "pairs": {"sources": pairs, "sha256": _digest(texts), "left_out": left_out + unfit},
            "pooling": {"names": poolings, "skip_first": skip_first},
            "models": {run.name: fingerprint(run) for run in runs},
        },
    }
    page.write(output, result, lines)
    console().print(*page.told(result), sep="\n\n")
    print(f"{place_of(output / 'layers.html')} has the curves and the map of languages and layers.")


def _poolings(names):
    """The names given, each once. Raises InputError."""
    from midalign.alignment.losses import POOLINGS as known

    names = list(dict.fromkeys(_split(names or POOLINGS)))
    bad = next((name for name in names if name not in known), None)
    if bad is not None:
        raise InputError(f"--pooling {shown(bad)}; use {', '.join(known)}.")
    return names


def _split(values):
    """["de,sw", "cy"] -> ["de", "sw", "cy"]."""
    return [name.strip() for value in values for name in value.split(",")]


def _language(tag):
    language = language_of(tag)
    if language is None:
        raise InputError(f"{shown(tag)} is no language; use an ISO 639 code such as sw, pt-BR or zh-Hant.")
    return language


def _scores(path, pivot):
    """({run: {language: first figure}}, its title) of a scores.json, as `results.of_scores` has them."""
    from midalign.analysis.results import of_scores
    from midalign.files import parsed, whole

    try:
        return of_scores(parsed(whole(path, MOST).decode("utf-8")), pivot)
    except InputError as error:
        raise InputError(f"--scores {error}") from error
    except Exception as error:  # what stands in a file of others decides which
        raise InputError(f"--scores {place_of(path)} is not what `midalign evaluate` writes; name its file.") from error


def _require_scored(runs, transfer, scores):
    if transfer and not {run.name for run in runs} & transfer.keys():
        raise InputError(
            f"--scores {place_of(scores)} has scores of {', '.join(map(shown, transfer))}, and none of "
            f"{', '.join(shown(run.name) for run in runs)}; evaluate the models that are shown."
        )


def _runs(models, adapter, base, dtype, output):
    """What to show, in order. Raises InputError."""
    from dataclasses import replace

    from midalign.models.loading import model_path
    from midalign.models.runs import find_run, with_bases

    if adapter and len(models) > 1:
        raise InputError(f"--adapter goes with one model, found {len(models)}; name adapter folders as MODEL instead.")
    runs = [
        replace(find_run(str(model_path(name, output.parent)), dtype), name=DEMO)
        if name == DEMO
        else find_run(name, dtype)
        for name in models
    ]
    if adapter:
        if runs[0].adapter:
            raise InputError(f"{shown(models[0], 200)} has an adapter itself; name the model below it with --adapter.")
        runs.append(find_run(adapter, dtype, runs[0].path))
        if not runs[1].adapter:
            raise InputError(
                f"--adapter {shown(adapter, 200)} has no adapter_config.json; name an adapter's folder or a trained "
                "recipe, or a whole model as a second MODEL."
            )
    runs = with_bases(runs) if base else runs
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise InputError(f"two models have one name in {', '.join(map(shown, names))}; rename a folder.")
    return runs


def _pairs(sources, languages, pivot, revision, most, every):
    """(what `sides.choose` gives, how many pairs cannot be used). Raises InputError."""
    from midalign.analysis.sides import choose
    from midalign.data.checks import Sieve
    from midalign.data.pairs import of_languages, read_pairs, spoken

    sieve = Sieve("skip")
    found = read_pairs(sources, sieve, pivot, revision)
    if not len(found):
        sieve.fail("--pairs has no pair; name files or a folder with some.")
    if languages:
        wanted = set(map(_language, _split(languages))) - {pivot}
        if not wanted:
            raise InputError(f"--language names {pivot} alone, which is the pivot; name others, or another --pivot.")
        known = spoken(found)
        if missing := ", ".join(sorted(wanted.difference(known))):
            sieve.fail(f"--pairs has no pairs of {missing}, only of {', '.join(known)}.")
        found = of_languages(found, wanted)
    if sieve.left_out:
        logger.warning("%s pair(s) left out: %s.", f"{len(sieve.left_out):,}", sieve.left_out[0])
    return choose(found, most, every), len(sieve.left_out)


def _token_ids(runs, chosen, max_length):
    """({run: {text: ids}}, how many sentences of the pivot were taken out of `chosen`, in all languages).

    Out goes what has no token with one of the tokenizers, or too many. Raises InputError.
    """
    from midalign.analysis.sides import require_enough
    from midalign.data.checks import fit_problem
    from midalign.data.tokens import sentence_ids
    from midalign.models.runs import plain_run_tokenizer

    texts = list(
        {pair[side]: None for own in chosen.values() for pair in own.values() for side in ("source", "target")}
    )
    ids, unfit = {}, {}
    for run in runs:
        tokenizer = plain_run_tokenizer(run)
        try:
            ids[run.name] = dict(zip(texts, sentence_ids(tokenizer, texts), strict=True))
        except Exception as error:  # tokenizers raises no type of its own
            raise InputError(
                f"the tokenizer of {shown(run.name)} cannot read the pairs: {squeeze(str(error))}"
            ) from error
        for own in chosen.values():
            for unit, pair in own.items():
                lengths = (len(ids[run.name][pair[side]]) for side in ("source", "target"))
                problems = (fit_problem({"length": length, "trained": True}, max_length) for length in lengths)
                if problem := next(filter(None, problems), None):
                    unfit.setdefault(unit, f"{pair['place']} {problem}")
    for own in chosen.values():
        for unit in unfit.keys() & own.keys():
            del own[unit]
    if unfit:
        first = next(iter(unfit.values())).replace("max_length", "--max-length")
        logger.warning("%s sentence(s) left out, in all languages: %s.", f"{len(unfit):,}", first)
    require_enough(chosen)
    return ids, len(unfit)


def _states(run, sentences, poolings, skip_first, progress, bar):
    """What `layer_states` gives; the model is gone when this returns. Raises InputError."""
    from midalign.data.tokens import require_embedded
    from midalign.models.runs import load_run_model, plain_run_tokenizer
    from midalign.training.states import layer_states

    model = load_run_model(run)
    require_embedded(sentences, model.config.get_text_config().vocab_size, run.tokenizer)
    pad = plain_run_tokenizer(run).pad_token_id or 0  # behind each sentence, where no token of it sees any
    try:
        return layer_states(model, sentences, poolings, pad, skip_first, partial(progress.advance, bar))
    except InputError:
        raise
    except ValueError as error:  # the architecture
        raise InputError(f"{shown(run.path, 200)}: {error}") from error


def _chance(sides, couples):
    """The share of translations that unrelated states would find."""
    return sum(1 / len(sides[i].rows) for i, _ in couples) / len(couples)


def _digest(texts):
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()

"""What `midalign layers` writes and says. `result`: see `results`."""

import json
import os
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from midalign import pages
from midalign.analysis.pictures import heat_map
from midalign.analysis.recommendation import DRAWS
from midalign.analysis.results import TITLES, as_csv
from midalign.errors import InputError
from midalign.files import require_own_files, write_result
from midalign.texts import place_of, shown

FILES = ("layers.json", "layers.csv", "layers.html")
SHARES = ("retrieval_at_1", "margin_at_1", "mexa", "language_share")  # in percent
MEANING = {
    "retrieval_at_1": "Sentences whose most similar one in the other language is their translation, mean of both ways.",
    "margin_at_1": "The same by LASER's ratio margin, with 4 neighbours: sentences that are near to all weigh less.",
    "mexa": "Pairs more similar than all other combinations with either of their sentences.",
    "cosine_of_pairs": "Mean cosine of translations.",
    "cosine_of_others": "Mean cosine of sentences that do not translate each other.",
    "cka": "Unbiased linear CKA: how alike the shapes of two languages are; 0 for strangers.",
    "language_share": "Variance in the directions in which the languages' means differ.",
    "effective_rank": "Directions that the sentences of a language use, mean over languages; it grows with sentences.",
}


def require_own(folder):
    """Refuse a folder that cannot be written, or with other files of these names. Raises InputError."""
    there = next(place for place in (Path(folder), *Path(folder).absolute().parents) if os.path.lexists(place))
    if not there.is_dir() or not os.access(there, os.W_OK):
        what = "cannot be written into" if there.is_dir() else "is no folder"
        raise InputError(f"{place_of(there)} {what}; name another --output.")
    require_own_files(folder, FILES, {"pivot", "models", "record"}, "layers")


def write(folder, result, lines):
    """layers.json, layers.csv and layers.html, each whole or not at all. Raises InputError."""
    texts = json.dumps(result, indent=1, allow_nan=False), as_csv(lines), html(result)
    for name, text in zip(FILES, texts, strict=True):
        write_result(Path(folder, name), text, "name another --output")


def told(result):
    """What the console shows: of each model a table of its layers and the advice."""
    for name, model in result["models"].items():
        curves = _curves(model)
        table = Table(title=Text(shown(name)), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for title in ("layer", *TITLES.values()):
            table.add_column(title, justify="right")
        for layer in range(model["layers"] + 1):
            table.add_row(str(layer), *(cell(figure, curves[figure][layer]) for figure in TITLES))
        yield table
        yield Text(f"{shown(name)}: {advice(model)}")


def advice(model):
    """Which layer to align at, why, and how sure that is; in sentences."""
    best = model["recommendation"]
    if best is None:
        return "It has no layer between its first and its last state to align at."
    found = f"{100 * best['retrieval_at_1']:.1f} %"
    if best["interval"]:
        found += f" ({100 * best['interval'][0]:.1f} to {100 * best['interval'][1]:.1f})"
    said = f"align_layer: {best['layer']} (of {best['of_layers']}). There {found} of the sentences find their "
    said += f"translation, the most of layers 1 to {best['of_layers'] - 1}; chance is {100 * best['chance']:.1f} %. "
    if best["interval"] is None:
        said += "There are too few sentences to say how sure that is."
    else:
        said += f"It is the best layer in {100 * best['best_in']:.0f} % of {DRAWS:,} bootstrap samples of the sentences"
        others = ", ".join(map(str, best["as_good"]))
        said += f", and cannot be told from {others}." if others else ", and better than each other of them."
    if (best["interval"] or [best["retrieval_at_1"]])[0] < 2 * best["chance"]:
        said += " That is hardly more than chance: the model does not know these languages well enough to tell."
    return " ".join(filter(None, (said, _elsewhere(model), _transfer(model))))


def _elsewhere(model):
    """The best layers by the other poolings; "" without any."""
    found = []
    for pooling, own in list(model["poolings"].items())[1:]:
        inner = own["curves"]["retrieval_at_1"][1:-1]
        found.append(f"by {pooling} pooling it is layer {1 + inner.index(max(inner))} ({100 * max(inner):.1f} %)")
    return f"{', '.join(found)}.".capitalize() if found else ""


def _transfer(model):
    """How far retrieval at that layer goes with the scores of a task; "" without scores."""
    known = model.get("transfer")
    if known is None:
        return ""
    if known["r"] is None:
        return f"Too few languages have both retrieval and {known['figure']} for a correlation."
    between = f" ({known['interval'][0]:.2f} to {known['interval'][1]:.2f})" if known["interval"] else ""
    return (
        f"Over {len(known['languages'])} languages without labels, retrieval there and {known['figure']} correlate by "
        f"{known['r']:.2f}{between}."
    )


def cell(figure, value):
    """A figure as tables show it."""
    if value is None:
        return "-"
    return (
        f"{100 * value:.1f}" if figure in SHARES else f"{value:.1f}" if figure == "effective_rank" else f"{value:.3f}"
    )


def html(result):
    """The page: one file, no script, no network; names of others are escaped."""
    return pages.page("analysis/page.html", **result, parts=parts(result))


def parts(result):
    """What `layers.html` shows of a result."""
    models = result["models"]
    return {
        "models": models,
        "directions": result["directions"],
        "titles": TITLES,
        "meaning": MEANING,
        "percent": SHARES,
        "cell": cell,
        "poolings": _poolings(result),
        "swatches": {name: pages.swatch(look(i, 0)) for i, name in enumerate(models)},
        "dashes": {name: pages.swatch(look(0, j)) for j, name in enumerate(_poolings(result))},
        "charts": {figure: _chart(figure, models) for figure in TITLES},
        "maps": {name: _map(name, models) for name in models},
        "advice": {name: advice(model) for name, model in models.items()},
        "of_layers": {name: _of_layers(model) for name, model in models.items()},
        "of_languages": {name: _of_languages(model) for name, model in models.items() if model["recommendation"]},
    }


def look(model, pooling):
    """The number of a `pages.look`: models differ in colour and marker, poolings in dashes."""
    return 25 * (model + 1) + 6 * pooling  # 25 is 1 of 6 colours and 0 of 5 dashes, 6 the other way round


def _chart(figure, models):
    """One figure of all models and poolings. Models of different depth meet at the same share of it."""
    one_depth = len({model["layers"] for model in models.values()}) == 1
    lines = []
    for i, model in enumerate(models.values()):
        layers = range(model["layers"] + 1)
        along = layers if one_depth else [100 * layer / model["layers"] for layer in layers]
        for j, own in enumerate(model["poolings"].values()):
            values = [float("nan") if value is None else value for value in own["curves"][figure]]
            lines.append((look(i, j), along, [(100 if figure in SHARES else 1) * value for value in values], False))
    return pages.curves(lines, f"{TITLES[figure]} by layer", "layer" if one_depth else "layer, percent of the depth")


def _map(name, models):
    """Retrieval@1 of each language at each layer; all models in one scale."""
    most = max(max(own["retrieval_at_1"]) for model in models.values() for own in _own(model).values())
    values = {language: own["retrieval_at_1"] for language, own in _own(models[name]).items()}
    values = dict(sorted(values.items(), key=lambda item: (-max(item[1]), item[0])))
    best = models[name]["recommendation"]
    return heat_map(values, most, f"retrieval@1 of {name}, languages by layers", best and best["layer"])


def _of_layers(model):
    """[(name of a layer, {figure: value})]."""
    best, curves = model["recommendation"], _curves(model)
    return [
        (
            f"{layer} (best)" if best and layer == best["layer"] else layer,
            {name: curves[name][layer] for name in TITLES},
        )
        for layer in range(model["layers"] + 1)
    ]


def _of_languages(model):
    """[(language, {figure: value at the recommended layer})]."""
    layer = model["recommendation"]["layer"]
    return [
        (language, {name: own[name][layer] if name in own else None for name in TITLES})
        for language, own in _own(model).items()
    ]


def _poolings(result):
    return list(next(iter(result["models"].values()))["poolings"])


def _first(model):
    return next(iter(model["poolings"]))


def _curves(model):
    return model["poolings"][_first(model)]["curves"]


def _own(model):
    return model["poolings"][_first(model)]["languages"]

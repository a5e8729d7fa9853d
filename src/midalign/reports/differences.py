"""What the records of several runs have in common, and what differs."""

from midalign.texts import without_secrets

LONGEST = 400  # letters of a value that are shown
# Of the record, what has a section of its own.
ELSEWHERE = ("recipe", "metrics", "scores", "files", "crc32", "crc32_of_this", "name")
# Where a run writes and what it says there differs between any two.
PLACES = frozenset({"output_dir", "logging_dir", "run_name", "project", "hub_model_id", "resume_from_checkpoint"})


def recipes(runs):
    """(keys whose values differ, those that all runs share), see `told`.   runs: [Logged]."""
    flat = {run.name: {key: _said(own) for key, own in _recipe(run).items() if key not in PLACES} for run in runs}
    return told({name: own for name, own in flat.items() if own})


def records(runs):
    """The same of what else a run's record says."""
    flat = {run.name: dict(_flat({k: v for k, v in run.record.items() if k not in ELSEWHERE})) for run in runs}
    for run in runs:
        flat[run.name] |= {key: f"{value:,.6g}" for key, value in run.ends.items()}
    return told({name: own for name, own in flat.items() if own})


def told(of_runs):
    """What several mappings differ in, and what they share.

    of_runs: {run: {key: text}}.   Returns ([(key, [(text or None for no such key, [runs])])], [(key, text)]), of texts
    the first `LONGEST` letters.
    """
    keys = list(dict.fromkeys(key for own in of_runs.values() for key in own))
    differ, shared = [], []
    for key in keys:
        by_value = {}
        for run, own in of_runs.items():
            by_value.setdefault(own.get(key), []).append(run)
        if len(by_value) > 1:
            differ.append((key, [(value and _short(value), some) for value, some in by_value.items()]))
        else:
            shared.append((key, *map(_short, by_value)))
    return differ, shared


def _recipe(run):
    recipe = run.record.get("recipe")
    return recipe if isinstance(recipe, dict) else {}


def _flat(value, above=""):
    """(key with those above it, text) of everything in JSON that is no object."""
    if isinstance(value, dict) and value:
        for key, own in value.items():
            yield from _flat(own, f"{above} {key}".strip())
    elif isinstance(value, list) and any(isinstance(own, dict) for own in value):
        for number, own in enumerate(value):
            yield from _flat(own, f"{above} {number + 1}" if len(value) > 1 else above)
    elif above:
        yield above, _said(value)


def text(value):
    """A value of JSON in the words of a table, at most `LONGEST` letters of it."""
    return _short(_said(value))


def _said(value):
    """All of it: values that differ beyond `LONGEST` letters differ."""
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return without_secrets(str(value))


def _short(said):
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}… ({len(said):,} letters)"

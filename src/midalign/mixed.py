"""What the keys of a recipe with several tasks say of each of them."""

from dataclasses import replace

from midalign.errors import InputError
from midalign.texts import label_of, shown

# Keys with one value for all tasks, or one for each; in those of languages a value is a list in itself, "de,fr".
EACH = ("task_instruction", "task_data", "task_revision", "task_rows", "task_eval_rows", "score_rows")
EACH_LANGUAGES = ("task_languages", "task_eval_languages", "score_languages")


def each_of(data):
    """See `config.DataConfig.each`."""
    if isinstance(data.task, str):
        for key in EACH:
            if isinstance(getattr(data, key), list):
                raise InputError(f"{key} has {len(getattr(data, key))} values for one task; give it one.")
        return [data]
    labels = [label_of(task) for task in data.task]
    if len(set(labels)) < len(labels):
        raise InputError(f"task names {', '.join(labels)}, two of them alike; name each once.")
    values = {key: _values(key, data) for key in EACH}
    values |= {key: [_split(key, item) for item in _values(key, data)] for key in EACH_LANGUAGES}
    own = [dict(zip(values, column, strict=True)) for column in zip(*values.values(), strict=True)]
    return [replace(data, task=task, **given) for task, given in zip(data.task, own, strict=True)]


def _values(key, data):
    """What a key is for each task."""
    value, tasks = getattr(data, key), len(data.task)
    values = value if isinstance(value, list) else [value]
    if len(values) not in (1, tasks):
        raise InputError(f"{key} has {len(values)} values for {tasks} tasks; give it one for all, or one for each.")
    return values * (tasks // len(values))


def _split(key, item):
    """The languages of one task: "de,fr" -> ["de", "fr"]."""
    languages = [name.strip() for name in item.split(",")] if item else None
    if languages and (not all(languages) or len(set(languages)) < len(languages)):
        raise InputError(f"{key}: found {shown(item)}; name each language of a task once, separated by commas.")
    return languages

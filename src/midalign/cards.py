"""Model cards: YAML of a YAML writer, and text of others as plain text."""

import json

import jinja2
import yaml

from midalign.texts import in_markdown


def card(template, front, place, **values):
    """A template of Markdown with its front matter, filled in; text.

    template: path.   front: dict.   place: where the model is, in the template also as `code`, a string of Python.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = lambda value: in_markdown(str(value))
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        place=place,
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000),
        code=json.dumps(place),  # a string of JSON is one of Python
        **values,
    )

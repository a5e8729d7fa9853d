"""The YAML of a recipe: flat, small, and every value as it is written."""

import json
import os
import stat

import yaml

from midalign.errors import InputError
from midalign.texts import harmless, quoted, shown, squeeze

BYTES, NODES, DEPTH = 1 << 16, 5_000, 6  # of the largest recipe: a reader in Python takes a second for as much
TAG = "tag:yaml.org,2002:"
SCALARS = {TAG + name for name in ("str", "int", "float", "timestamp")}
COLLECTIONS = {TAG + "seq", TAG + "map"}


class Bare(str):
    """An item of a list that is a number or a date to YAML, as it is written."""


def read_yaml(path):
    """{key: value} of a recipe.

    A value is text, as it is written: the command line's rules make numbers of it. `True`, `False` and None stand for
    YAML's bare words; a list holds such values, and a block of `key: value` is a dict that JSON takes.
    Raises InputError for a file that cannot be read, is no flat YAML, or takes long to read.
    """
    try:
        loader = yaml.SafeLoader(_text(path))
        node = loader.get_single_node()
        _require_small(path, node)
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"recipe {path} holds no `key: value` lines; see recipes/README.md.")
        return {key: _value(path, key, inner, loader) for key, inner in _items(path, node)}
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"recipe {path} is not valid YAML: {harmless(squeeze(str(error)))[:400]}.") from error
    except RecursionError as error:
        raise InputError(f"recipe {path} is nested too deeply; a recipe is flat, see recipes/README.md.") from error


def _text(path):
    """The file as text; a pipe would be empty the second time it is read, and some devices have no end."""
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
        with open(path if regular else os.devnull, "rb") as stream:
            content = stream.read(BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "is no path"
        raise InputError(
            f"recipe {shown(str(path))}: {reason}; give the path of a YAML file or a name of `midalign recipes`."
        ) from error
    if not regular:
        raise InputError(f"recipe {path} is no file; give the path of a YAML file.")
    if len(content) > BYTES:
        raise InputError(f"recipe {path} has more than {BYTES:,} bytes; give the path of a recipe.")
    return content.decode("utf-8")


def _require_small(path, node):
    """Refuse nodes that hold themselves or, by references, a multitude."""
    waiting, seen = [(node, 0)], 0
    while waiting:
        inner, depth = waiting.pop()
        seen += 1
        if depth > DEPTH or seen > NODES:
            raise InputError(
                f"recipe {path} holds more than {NODES:,} values or nests them more than {DEPTH} deep, by references "
                "perhaps; a recipe is flat, see recipes/README.md."
            )
        if isinstance(inner, yaml.MappingNode):
            waiting += [(part, depth + 1) for pair in inner.value for part in pair]
        elif isinstance(inner, yaml.SequenceNode):
            waiting += [(part, depth + 1) for part in inner.value]


def _items(path, node):
    """(key, value node) of a mapping. Raises InputError for keys that are no text, or there twice."""
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"recipe {path} has a key that is no word; see recipes/keys.md for the keys.")
        if key.value in seen:
            raise InputError(f"recipe {path} is not valid YAML: {shown(key.value)} appears twice.")
        seen.add(key.value)
        yield key.value, value


def _value(path, key, node, loader):
    if isinstance(node, yaml.CollectionNode) and node.tag not in COLLECTIONS:
        raise InputError(f"{key}: found the tag {quoted(node.tag)}; write the value without it.")
    if isinstance(node, yaml.MappingNode):
        return _block(path, key, node, loader)
    if isinstance(node, yaml.SequenceNode):
        return [_item(path, key, inner, loader) for inner in node.value]
    if node.tag in (TAG + "null", TAG + "bool"):
        return _constructed(key, node, loader)
    if node.tag not in SCALARS:
        raise InputError(f"{key}: found the tag {quoted(node.tag)}; write the value without it.")
    if node.tag == TAG + "float":  # .inf and .nan are YAML's words
        return node.value.lower().replace(".inf", "inf").replace(".nan", "nan")
    return node.value


def _item(path, key, node, loader):
    """An item of a list: text, or what YAML makes of a bare word that was meant as text."""
    value = _value(path, key, node, loader)
    if isinstance(value, list | dict):
        raise InputError(
            f"{key}: found a list in which an item is a {'list' if isinstance(value, list) else 'block'}; "
            "every item is a text."
        )
    if isinstance(value, str) and node.tag != TAG + "str":
        return Bare(value)
    return value


def _block(path, key, node, loader):
    """A mapping as a dict that JSON takes, numbers as YAML reads them."""
    for _ in _items(path, node):
        pass
    found = _constructed(key, node, loader)
    try:
        json.dumps(found)
    except (TypeError, ValueError) as error:
        raise InputError(f"{key}: found a value that is neither text nor number; mend it.") from error
    return found


def _constructed(key, node, loader):
    try:
        return loader.construct_object(node, deep=True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # a date that is none, a number without end
        found = quoted(node.value) if isinstance(node, yaml.ScalarNode) else "a value in its block"
        raise InputError(f"{key}: found {found}, which YAML cannot read; mend it.") from error

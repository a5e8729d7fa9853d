r"""Answers as JSON: what is learned, and what models write instead.

The answer to learn is one object with all three types and, in each, the words of every entity in order of appearance,
as often as they appear:

    {"PER": ["Anna", "Anna"], "LOC": ["Rio"], "ORG": []}

`read_strict` takes nothing else, up to blanks and the order of the keys. `read` takes any text: it mends JSON that is
broken (`lenient`), and understands other ways to say which words are of which type: names of types such as "person",
a text instead of a list of one, lists in lists, {"entities": {...}}, [{"type": "PER", "text": "Anna"}],
{"Anna": "PER"}. Every mending is counted by its kind. Words under a key that names no type have the type "?". A text
that was cut off before its end is no entity. An answer in which there is no bracket at all cannot be read.
"""

import json
from collections import Counter

from midalign.tasks.entities import lenient
from midalign.tasks.entities.lenient import Members
from midalign.tasks.entities.treebanks import TYPES
from midalign.tasks.thoughts import without_thought
from midalign.texts import comparable, squeeze

OTHER = "?"
NAMES = {
    name: kind
    for kind, names in {
        "PER": "per person persons people",
        "LOC": "loc location locations place places gpe",
        "ORG": "org organization organizations organisation organisations",
    }.items()
    for name in names.split()
}
KIND_KEYS = ("type", "typename", "label", "tag", "category", "entity_type", "entity_group")
TEXT_KEYS = ("text", "name", "entity", "word", "words", "value", "mention")


def write(entities):
    """The answer with these (type, words)."""
    return json.dumps({kind: [words for own, words in entities if own == kind] for kind in TYPES}, ensure_ascii=False)


def read_strict(text):
    """The (type, words) of an answer as it is learned: list. ValueError for any other text."""
    members = json.loads(text, object_pairs_hook=Members, parse_constant=_refuse)
    if not isinstance(members, Members) or sorted(key for key, _ in members) != sorted(TYPES):
        raise ValueError("is no object with PER, LOC and ORG, each once")
    found = []
    for kind, texts in members:
        # An object, also an empty one, is `Members`.
        if type(texts) is not list or not all(isinstance(own, str) and comparable(own) for own in texts):
            raise ValueError(f"has no list of texts in {kind}")
        found += [(kind, squeeze(own)) for own in texts]
    return found


def _refuse(constant):
    raise ValueError(f"has {constant}, which is no JSON")


def read(text):
    """What any answer says: (list of (type, words), Counter of repairs, whether it could be read). Never raises.

    A thought before the answer is no part of it.
    """
    text = without_thought(text)
    repairs = Counter()
    try:
        return read_strict(text), repairs, True
    except (ValueError, RecursionError):
        value = lenient.read(text, repairs)
    if value is lenient.NOTHING:
        return [], repairs, False
    repairs["no object"] += not isinstance(value, Members)
    found = []
    for kind, words in _entities(value, repairs):
        if comparable(words):
            found.append((kind, squeeze(words)))
        else:
            repairs["nothing in it"] += 1
    return found, +repairs, True


def _entities(value, repairs):
    """Yields the (type, words) of a value that no type is known of."""
    if not isinstance(value, Members):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                yield OTHER, item
            elif item is not lenient.NOTHING:
                repairs["nested"] += 1
                yield from _entities(item, repairs)
        return
    kind, words = _field(value, KIND_KEYS), _field(value, TEXT_KEYS)
    if kind is not None and words is not None:
        yield _type(kind, repairs) or OTHER, words
        return
    seen = Counter(NAMES.get(squeeze(key).casefold()) for key, _ in value)
    del seen[None]
    repairs["key twice"] += any(count > 1 for count in seen.values())
    repairs["type missing"] += 0 < len(seen) < len(TYPES) or not value
    for key, own in value:
        kind = _type(key, repairs)
        if kind:
            yield from _of_type(kind, own, repairs)
        elif isinstance(own, str):
            named = _type(own, repairs)
            repairs["turned round" if named else "other key"] += 1
            if named:
                yield named, key
        else:
            repairs["other key"] += 1
            yield from _entities(own, repairs)


def _of_type(kind, value, repairs):
    """Yields the (type, words) of the value of a type."""
    if isinstance(value, list) and not isinstance(value, Members):
        for item in value:
            if isinstance(item, str):
                yield kind, item
            elif item is not lenient.NOTHING:
                repairs["nested"] += 1
                yield from _of_type(kind, item, repairs)
    elif isinstance(value, str):
        repairs["no list"] += 1
        if value.strip():
            yield kind, value
    elif isinstance(value, Members):
        words = _field(value, TEXT_KEYS)
        repairs["nested"] += 1
        if words is not None:
            yield kind, words


def _field(members, keys):
    """The text of the first member with one of these keys, None without."""
    return next((own for key, own in members if key.casefold() in keys and isinstance(own, str)), None)


def _type(name, repairs):
    """The type that a name means, None without."""
    kind = NAMES.get(squeeze(name).casefold())
    repairs["type name"] += kind is not None and name != kind
    return kind

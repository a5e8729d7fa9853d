"""Which sentences are compared: sides of languages, and the pairs of sides that translate each other."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import torch

from midalign.errors import InputError
from midalign.texts import comparable, spelled

FEWEST = 2  # sentences of a language


@dataclass(frozen=True)
class Side:
    """Sentences of one language in the order in which another side translates them.

    rows: (n,) int64, where their states are.   units: (n,) int64, the number of the pivot's sentence that each says.
    """

    language: str
    rows: torch.Tensor
    units: torch.Tensor


def choose(pairs, most, every):
    """{language: {sentence of the pivot as `comparable`: pair}}, at most `most` of each, none twice on either side.

    pairs: as `data.pairs.read_pairs` gives them.   every: only sentences that all languages have.
    Those that most languages have come first, then chance decides, by a hash of the text: languages and models are
    measured on the same sentences as far as they can be. Raises InputError for a language with fewer than two.
    """
    found = {}
    for pair in pairs:
        own, sources = found.setdefault(pair["source_lang"], ({}, set()))
        source, target = comparable(pair["source"]), comparable(pair["target"])
        if source not in sources and target not in own:  # a second translation would make the first one wrong
            sources.add(source)
            own[target] = pair
    spread = Counter(target for own, _ in found.values() for target in own)

    def order(target):
        return -spread[target], hashlib.sha256(spelled(target).encode("utf-8", "surrogatepass")).digest()

    chosen = {}
    for language, (own, _) in sorted(found.items()):
        usable = sorted((target for target in own if not every or spread[target] == len(found)), key=order)
        chosen[language] = {target: own[target] for target in usable[:most]}
    if every and all(len(own) >= FEWEST for own, _ in found.values()) and len(next(iter(chosen.values()))) < FEWEST:
        raise InputError(
            f"{len(next(iter(chosen.values())))} sentence(s) are there in all of {', '.join(chosen)}, and comparing "
            f"takes {FEWEST}; leave languages out with --language, or give --directions pivot."
        )
    require_enough(chosen)
    return chosen


def require_enough(chosen):
    """Raises InputError for a language with fewer than two sentences.   chosen: as `choose` gives it."""
    for language, own in chosen.items():
        if len(own) < FEWEST:
            raise InputError(
                f"language {language} has {len(own)} usable sentence(s) in --pairs, and comparing takes {FEWEST} or "
                "more that differ; add some or leave it out with --language."
            )


def layout(chosen, pivot, every):
    """(texts, sides, pairs of places in sides) of what `choose` gives.

    pivot: language of the other side.   every: pair all languages, not only each with the pivot.
    A text that several languages share is there once: its states are the same.
    """
    rows, units, sides, places = {}, {}, [], {}

    def side(language, pairs, name):
        """The place of a side, which is made where there is none like it."""
        own = [rows.setdefault(pair[name], len(rows)) for pair in pairs.values()]
        said = [units.setdefault(target, len(units)) for target in pairs]
        if (language, *own) not in places:
            places[language, *own] = len(sides)
            sides.append(Side(language, torch.tensor(own), torch.tensor(said)))
        return places[language, *own]

    couples = [(side(language, pairs, "source"), side(pivot, pairs, "target")) for language, pairs in chosen.items()]
    if every:
        couples += combinations([place for place, _ in couples], 2)
    return list(rows), sides, couples

"""Which sentences are compared, and how they are laid out."""

import pytest

from midalign.analysis.sides import choose, layout
from midalign.errors import InputError


def pairs(**languages):
    """pairs(de={"hund": "dog"}) -> what `read_pairs` gives."""
    return [
        {"source": source, "target": target, "source_lang": language, "target_lang": "en", "place": f"{language} {i}"}
        for language, own in languages.items()
        for i, (source, target) in enumerate(own.items())
    ]


def test_sentences_that_most_languages_have_come_first():
    found = pairs(
        de={"hund": "dog", "katze": "cat", "maus": "mouse", "pferd": "horse"},
        es={"gato": "cat", "caballo": "horse", "vaca": "cow"},
    )
    assert {language: set(own) for language, own in choose(found, 2, every=False).items()} == {
        "de": {"cat", "horse"},
        "es": {"cat", "horse"},
    }
    assert len(choose(found, 3, every=False)["de"]) == 3
    assert {len(own) for own in choose(found, 9, every=True).values()} == {2}


def test_the_choice_does_not_hang_on_the_order_of_files():
    own = {f"satz {i}": f"sentence {i}" for i in range(50)}
    one, other = choose(pairs(de=own), 10, False), choose(pairs(de=dict(reversed(own.items()))), 10, False)
    assert list(one["de"]) == list(other["de"])


def test_no_sentence_is_there_twice_on_either_side():
    found = pairs(de={"hund": "dog", "der hund": "Dog ", "katze": "cat"}, es={"perro": "dog", "gato": "cat"})
    found += pairs(de={"HUND": "hound"})
    assert set(choose(found, 9, False)["de"]) == {"dog", "cat"}
    assert choose(found, 9, False)["de"]["dog"]["source"] == "hund"


def test_too_few_sentences_are_refused_with_the_language():
    with pytest.raises(InputError, match="language es has 1 usable sentence"):
        choose(pairs(de={"hund": "dog", "katze": "cat"}, es={"gato": "cat"}), 9, False)
    apart = pairs(de={"hund": "dog", "katze": "cat"}, es={"vaca": "cow", "gato": "cat"})
    assert choose(apart, 9, False)
    with pytest.raises(InputError, match=r"1 sentence\(s\) are there in all of de, es"):
        choose(apart, 9, True)


def test_each_language_is_paired_with_the_pivot_and_shared_sides_are_one():
    chosen = choose(pairs(de={"hund": "dog", "katze": "cat"}, es={"perro": "dog", "gato": "cat"}), 9, False)
    texts, sides, couples = layout(chosen, "en", every=False)
    assert [side.language for side in sides] == ["de", "en", "es"] and couples == [(0, 1), (2, 1)]
    assert sorted(texts) == ["cat", "dog", "gato", "hund", "katze", "perro"]
    words = {"dog": {"hund", "perro"}, "cat": {"katze", "gato"}}
    for i, j in couples:
        assert sides[i].units.tolist() == sides[j].units.tolist()
        for row, target in zip(sides[i].rows, sides[j].rows, strict=True):
            assert texts[row] in words[texts[target]]


def test_all_directions_pair_every_language_with_every_other_once():
    chosen = choose(
        pairs(**{name: {f"{name} {i}": str(i) for i in range(3)} for name in ("de", "es", "tr")}), 9, every=True
    )
    _, sides, couples = layout(chosen, "en", every=True)
    found = {frozenset((sides[i].language, sides[j].language)) for i, j in couples}
    assert len(sides) == 4 and len(couples) == len(found) == 6


def test_a_text_that_languages_share_is_computed_once():
    texts, sides, _ = layout(
        choose(pairs(de={"taxi": "cab", "hund": "dog"}, fr={"taxi": "cab", "chien": "dog"}), 9, 0), "en", 0
    )
    assert texts.count("taxi") == 1 and len(sides) == 3

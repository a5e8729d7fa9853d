"""The demo corpus: voice commands with labelled slots in six languages and three scripts, made on the spot.

Rows have the format of MASSIVE and are parallel: the same id is the same command in every language. All text
comes from `phrases` and `words`; no file is read and nothing depends on chance outside `SEED`.
"""

import functools
import itertools
import random
import re

from midalign.demo import phrases, words

DEMO_LOCALES = ("en-US", "de-DE", "es-ES", "tr-TR", "ru-RU", "el-GR")
PARTITIONS = ("train", "dev", "test")

SEED = 1
# At most so many rows per phrase: phrases with thousands of combinations must not drown the others.
ROWS_PER_PHRASE = {"train": 130, "dev": 10, "test": 20}
PLAIN_SENTENCES_PER_PHRASE = 200

_PLACEHOLDER = re.compile(r"\{(\w+)(?:\.(\d))?(!)?\}")
_FORM = re.compile(r"(?:\((.+)\) )?(.+)")
_ANNOTATION = re.compile(r"\[\w+ : ([^\]]+)\]")


def rows(locale, partition):
    """Labelled rows of one language, MASSIVE format, in order of id.

    locale: one of DEMO_LOCALES.   partition: "train", "dev" or "test".
    Returns a list of {"id", "locale", "partition", "scenario", "intent", "utt", "annot_utt"}. A combination
    of phrase and slot values occurs in one partition only.
    """
    if locale not in DEMO_LOCALES:
        raise ValueError(f"locale={locale!r}; the demo corpus has {', '.join(DEMO_LOCALES)}.")
    if partition not in PARTITIONS:
        raise ValueError(f"partition={partition!r}; the demo corpus has {', '.join(PARTITIONS)}.")
    column = DEMO_LOCALES.index(locale)
    result = []
    for number, (split, intent, texts) in enumerate(_commands()):
        if split == partition:
            result.append(
                {
                    "id": str(number),
                    "locale": locale,
                    "partition": partition,
                    "scenario": intent.split("_")[0],
                    "intent": intent,
                    "utt": _without_labels(texts[column]),
                    "annot_utt": texts[column],
                }
            )
    return result


def pairs(languages, pivot="en"):
    """Translation pairs of unlabelled training commands, language after language.

    languages: two-letter names such as "de", not that of the pivot, which is the language of every "target".
    Returns a list of {"id", "source", "target", "source_lang", "target_lang"}.
    """
    locales = {locale[:2]: locale for locale in DEMO_LOCALES}
    for language in languages:
        if language not in locales.keys() - {pivot}:
            raise ValueError(f"pairs of {language!r} and {pivot!r}: the demo corpus has {', '.join(locales)}.")
    targets = rows(locales[pivot], "train")
    return [
        {
            "id": target["id"],
            "source": source["utt"],
            "target": target["utt"],
            "source_lang": language,
            "target_lang": pivot,
        }
        for language in languages
        for source, target in zip(rows(locales[language], "train"), targets, strict=True)
    ]


def plain_text(locale):
    """Sentences of one language without labels, for language modelling: training commands, then statements.

    Every language has its own order, so that the n-th sentences of two languages do not translate each other.
    """
    column = DEMO_LOCALES.index(locale)
    sentences = [row["utt"] for row in rows(locale, "train")]
    sentences += [_without_labels(texts[column]) for texts in _statements()]
    random.Random(f"{SEED} {locale}").shuffle(sentences)
    return sentences


def _without_labels(annot_utt):
    return _ANNOTATION.sub(r"\1", annot_utt)


@functools.cache
def _commands():
    """All rows as (partition, intent, annotated text per language), shuffled; a row's place is its id."""
    rng = random.Random(SEED)
    seen = [set() for _ in DEMO_LOCALES]
    commands = []
    for intent, *templates in _records(phrases.COMMANDS):
        for partition, choices in _split(rng, _combinations(templates[0])).items():
            for values, opener, closer in choices:
                texts = [_fill(*phrase, values, opener, closer) for phrase in enumerate(templates)]
                utterances = [_without_labels(text) for text in texts]
                # Different commands may read the same in one language: without this, train could hold test.
                if not any(utterance in known for utterance, known in zip(utterances, seen, strict=True)):
                    for utterance, known in zip(utterances, seen, strict=True):
                        known.add(utterance)
                    commands.append((partition, intent, texts))
    rng.shuffle(commands)
    return commands


@functools.cache
def _statements():
    """Annotated plain sentences per language; the annotation is stripped by the caller."""
    rng = random.Random(SEED)
    nothing = _lexicon()["opener"][0]
    sentences = []
    for _, *templates in _records(phrases.STATEMENTS):
        combinations = _combinations(templates[0])
        for values in rng.sample(combinations, min(PLAIN_SENTENCES_PER_PHRASE, len(combinations))):
            sentences.append([_fill(*phrase, values, nothing, nothing) for phrase in enumerate(templates)])
    return sentences


def _split(rng, combinations):
    """Deal the combinations of one phrase out to the partitions and dress them with openers and closers.

    Returns {partition: [(values, opener, closer), ...]}. A phrase without slots has a single combination;
    there the dressed sentences are dealt out instead.
    """
    nothing, *openers = _lexicon()["opener"]
    closers = _lexicon()["closer"][1:]
    dresses = [(nothing, nothing)] + [(o, nothing) for o in openers] + [(nothing, c) for c in closers]
    dresses.append((openers[1], closers[0]))
    if len(combinations) == 1:
        dressed = [(combinations[0], *dress) for dress in dresses]
        return {"train": dressed[:4], "dev": dressed[4:5], "test": dressed[5:]}

    rng.shuffle(combinations)
    cuts = [round(len(combinations) * share) for share in (0.75, 0.8, 1.0)]
    result = {}
    for partition, start, end in zip(PARTITIONS, [0, *cuts], cuts, strict=False):
        mine = combinations[start:end]
        # Round by round, so that a combination comes again in other dress only where a phrase has few.
        choices = []
        for values in mine:
            order = dresses[:]
            rng.shuffle(order)
            if rng.random() < 0.6:
                order.sort(key=lambda dress: dress != dresses[0])
            choices += [(turn, values, *dress) for turn, dress in enumerate(order)]
        choices.sort(key=lambda choice: choice[0])
        result[partition] = [tuple(choice) for _, *choice in choices[: ROWS_PER_PHRASE[partition]]]
    return result


def _combinations(phrase):
    """All assignments of values to the slots of a phrase: {slot: the value in every language}."""
    slots = [match[1] for match in _PLACEHOLDER.finditer(phrase)]
    choices = itertools.product(*(_lexicon()[slot] for slot in slots))
    return [dict(zip(slots, values, strict=True)) for values in choices]


def _fill(column, phrase, values, opener, closer):
    """Write one phrase of one language with its values annotated."""

    def annotate(match):
        slot, form, bare = match.groups()
        forms = values[slot][column].split("/")
        outside, value = _FORM.fullmatch(forms[min(int(form or 0), len(forms) - 1)]).groups()
        return ("" if bare or not outside else outside + " ") + f"[{slot} : {value}]"

    words = (opener[column], _PLACEHOLDER.sub(annotate, phrase), closer[column])
    return " ".join(word for word in words if word)


@functools.cache
def _lexicon():
    """{slot: [(value in each language), ...]}, with "opener" and "closer" beside the slots."""
    texts = {**words.VALUES, "opener": words.OPENERS, "closer": words.CLOSERS}
    return {name: _records(text) for name, text in texts.items()}


def _records(text):
    """Split a word list: records end with ";", fields with "|"; line ends count as spaces."""
    records = [record for record in text.split(";") if record.strip()]
    return [tuple(field.strip() for field in record.split("|")) for record in records]

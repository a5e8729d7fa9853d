"""Universal NER's treebanks: their names, their files, and what their tags mean.

A treebank is named by its language and its own name, as in its files: `en_ewt` in
UNER_English-EWT/en_ewt-ud-train.iob2. A language alone, such as `en` or `en-US`, means the treebank of that language
where there is one only. Sentences are in IOB2: lines of number, token and tag with tabs between them, and comments
`# sent_id = ...` and `# text = ...` before them.

Source: Universal NER v1, https://github.com/UniversalNER, arXiv 2311.09122.
"""

import re
from pathlib import Path

from midalign.errors import InputError
from midalign.files import whole
from midalign.languages import TAG, language_of
from midalign.tasks.items import without_spaces
from midalign.tasks.sources import NoSplitError, value_of
from midalign.texts import place_of, quoted, shown, squeeze

TYPES = ("PER", "LOC", "ORG")
NO_ENTITY = ("OTH", "O")  # other entities, and a slip in older files: as the release, none of these is an entity
TAGS = re.compile(f"O|([BI])-({'|'.join((*TYPES, *NO_ENTITY))})")
NAME = re.compile("([a-z]{2,3})_[a-z0-9]+")
FILE = re.compile(rf"({NAME.pattern})-ud-(train|dev|test)\.iob2(?:\.gz)?")
LARGEST = 1 << 28  # bytes, unpacked; the largest published file has 5 MiB
# Of Universal NER v1, as the hub's data set names them.
PUBLISHED = tuple(
    """
    ceb_gja da_ddt de_pud en_ewt en_pud hr_set pt_bosque pt_pud ru_pud sk_snk sr_set sv_pud sv_talbanken tl_trg
    tl_ugnayan zh_gsd zh_gsdsimp zh_pud
    """.split()
)
# Those that are not in the usual script of their language.
LANGUAGES = {"sr_set": "sr-Latn", "zh_gsd": "zh-Hant", "zh_pud": "zh-Hant"}


def languages_of(name):
    """The languages that the rows of a treebank or language may be in: set, in the terms of `language_of`."""
    if NAME.fullmatch(name):
        return {LANGUAGES.get(name) or language_of(name.partition("_")[0])}
    language = language_of(name)
    others = (
        ()
        if language is None or _is_exact(name)
        else (own for own in LANGUAGES.values() if own.partition("-")[0] == language)
    )
    return {language, *others}


def resolve(name, treebanks, where):
    """The treebank that a name means among those that are there. Raises InputError where none or several could be."""
    if name in treebanks:
        return name
    language = None if NAME.fullmatch(name) else language_of(name)
    exact = language is not None and _is_exact(name)
    found = [
        own
        for own in treebanks
        for other in languages_of(own)
        if language is not None and (other == language if exact else other.partition("-")[0] == language)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"locale {shown(name)} could be {' or '.join(found)} of {where}; name one.")
    raise InputError(f"{where} has no treebank of {shown(name)}; use any of {', '.join(treebanks)}.")


def _is_exact(tag):
    """Whether a language tag says a script, itself or by its region."""
    return TAG.fullmatch(tag)[2] is not None or "-" in language_of(tag)


def files_of(folder):
    """{treebank: {partition: path}} of the files in a folder or in the folders right below it, as Universal NER names
    them; empty where there are none. Raises InputError for a file that is there twice.
    """
    found = {}
    for path in sorted([*Path(folder).glob("*.iob2*"), *Path(folder).glob("*/*.iob2*")]):
        parts = FILE.fullmatch(path.name)
        if parts:
            own = found.setdefault(parts[1], {})
            if parts[3] in own:
                raise InputError(f"{place_of(path)} is there twice, also as {place_of(own[parts[3]])}; delete one.")
            own[parts[3]] = path
    return found


def sentences(source, files, name, partition):
    """Yields (place, record, problem) of the sentences of a treebank or language, as `files.records` does.

    files: what `files_of` gives of the folder `source`.   Records have id, locale (`name`), partition, treebank, text,
    tokens and tags. Raises InputError, NoSplitError where the treebank has no such partition.
    """
    treebank, part = resolve(name, list(files), f"task_data {source}"), value_of(partition)
    if part not in files[treebank]:
        raise NoSplitError(
            f"task_data {source} has {treebank} without {treebank}-ud-{part}.iob2; add it or name another locale."
        )
    for number, (place, comments, lines, problem) in enumerate(_blocks(files[treebank][part])):
        tokens, tags = [line[0] for line in lines], [line[1] for line in lines]
        record = {
            "id": id_of(treebank, comments.get("sent_id", str(number))),
            "locale": name,
            "partition": part,
            "treebank": treebank,
            "text": comments.get("text") or joined(treebank, tokens),
            "tokens": tokens,
            "tags": tags,
        }
        yield place, None if problem else record, problem


def id_of(treebank, sentence):
    """The id of a sentence: PUD's are parallel in all languages, those of other treebanks are not (batch-0000-0001)."""
    return sentence if treebank.endswith("_pud") else f"{treebank} {sentence}"


def joined(language, tokens):
    """The text of a sentence of which only the tokens are known.   language: see `items.without_spaces`."""
    return ("" if without_spaces(language) else " ").join(tokens)


def _blocks(path):
    """Yields (place, comments, [(token, tag)], problem) of the sentences of a file."""
    name = place_of(path)
    try:
        text = whole(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} has byte {error.start} that is not UTF-8; save the file as UTF-8.") from error
    comments, lines, problem, first = {}, [], None, 1
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        line = line.removesuffix("\r")
        if not line.strip():
            if lines or problem:
                yield f"{name} line {first}", comments, lines, problem
            comments, lines, problem, first = {}, [], None, number + 1
        elif line.startswith("#"):
            key, _, value = line[1:].partition("=")
            comments[key.strip()] = value.strip()
        else:
            columns = line.split("\t")
            if len(columns) < 3 or not re.fullmatch(r"\d+([-.]\d+)?", columns[0]):
                problem = problem or f"has {quoted(line)}; write number, token and tag with tabs between them"
            elif columns[0].isdigit():  # 3-4 are two words in one, 3.1 is a word that is not written: neither has a tag
                lines.append((columns[1], columns[2]))


def tag_problem(tokens, tags):
    """Why these are no tokens with their tags, or None."""
    if not all(isinstance(some, list) and all(isinstance(one, str) for one in some) for some in (tokens, tags)):
        return 'needs "tokens" and "ner_tags" (or "tags"), two lists of text; write tags by their names, such as B-PER'
    if len(tokens) != len(tags) or not tokens:
        return f"has {len(tokens)} tokens and {len(tags)} tags; give every token one tag"
    bad = next((tag for tag in tags if not TAGS.fullmatch(tag)), None)
    if bad is not None:
        return f"has tag {quoted(bad)}; use O, or B- and I- with {', '.join(TYPES)} or OTH"
    return None


def entities(row):
    """The entities of a row in order of appearance: list of (type, words), words as they stand in the text.

    A tag I- that continues nothing begins an entity, as in seqeval. An entity that the text does not have, blanks
    aside, is its tokens: the `de o` of a contraction stands there as `do`.
    """
    parts = []
    for token, tag in zip(row["tokens"], row["tags"], strict=True):
        begins, kind = TAGS.fullmatch(tag).groups()
        if parts and begins == "I" and parts[-1][0] == kind:
            parts[-1][1].append(token)
        else:
            parts.append((kind, [token]))
    text = row["text"]
    places, letters = [at for at, letter in enumerate(text) if not letter.isspace()], "".join(text.split())
    found, at = [], 0  # where letters are known to be read up to
    for kind, tokens in parts:
        own = "".join("".join(tokens).split())
        if kind not in TYPES:
            at += len(own) * letters.startswith(own, at)
            continue
        start = letters.find(own, at)
        if own and start >= 0:
            at = start + len(own)
            tokens = [text[places[start] : places[at - 1] + 1]]
        found.append((kind, squeeze(" ".join(tokens))))
    return found

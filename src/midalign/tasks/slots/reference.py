"""The reference's MASSIVE scorer, quirks included, so that our figures can stand beside the paper's.

Figures: github dannigt/mid-align c3fa8ef, from its outputs. Tagging rules: https://github.com/alexa/massive
(scripts/create_hf_dataset.py). Written anew from both. The quirks, kept on purpose:
* predictions are a file of lines: a line break inside an answer shifts all later rows;
* a part must split into two at ": ", so `time: 5: 30 pm` is malformed although the target writer emits it;
* every occurrence of a phrase is tagged, case ignored, and later slots overwrite earlier ones;
* neighbouring tokens of one label are one span, so two neighbouring slots of one name are too;
* ja and zh match by character but keep an all-ASCII word whole, and such a word never closes its slot;
* the locale of the last row decides whether all rows match by character.

Where the reference raises, we do not: a blank phrase before another part (`time:  ; date: x`) is skipped and
not counted as malformed, like an empty one; of lines past the last row only the malformed parts are counted.
"""

OTHER = "Other"
CHARACTER_LOCALES = frozenset({"ja-JP", "zh-CN", "zh-TW"})


def gold_tags(row):
    """(tokens, tags) of a row; the two differ in length where utt and annot_utt disagree."""
    by_character = row["locale"] in CHARACTER_LOCALES
    tokens, tags, label, colon_next = [], [], OTHER, False
    for word in row["annot_utt"].split():
        if colon_next:
            colon_next = False
        elif word.startswith("["):
            label, colon_next = word.lstrip("["), True
        elif by_character and not word.isascii():
            for character in word:
                if character == "]":
                    label = OTHER
                else:
                    tokens.append(character)
                    tags.append(label)
        else:
            tokens.append(word.rstrip("]"))
            tags.append(label)
            if word.endswith("]") and not by_character:
                label = OTHER
    return (tokens if by_character else row["utt"].split()), tags


def read_line(line):
    """(list of (label, phrase), malformed) of one line of predictions."""
    line = line.strip()
    if line.lower() == "none":
        return [], 0
    halves = [part.split(": ") for part in line.split("; ")]
    pairs = [half for half in halves if len(half) == 2]
    return pairs, len(halves) - len(pairs)


def tag(tokens, length, pairs, by_character):
    """Tag every occurrence of every phrase, case ignored. Returns `length` labels."""
    tokens = [token.lower() for token in tokens]
    tags = [OTHER] * max(length, len(tokens))
    for label, phrase in pairs:
        wanted = list(phrase.lower()) if by_character else phrase.lower().split()
        if not wanted:
            continue
        for start in range(len(tokens) - len(wanted) + 1):
            if tokens[start : start + len(wanted)] == wanted:
                tags[start : start + len(wanted)] = [label] * len(wanted)
    return tags[:length]


def tag_rows(rows, file_text):
    """Gold and predicted tags of all rows, and the malformed parts in the file.

    file_text: one line per row; rows without a line are predicted to have no slot.
    Returns (gold, predicted, malformed), the first two one list of labels per row.
    """
    lines = file_text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    answers = [read_line(line) for line in (lines if lines[-1] else lines[:-1])]
    by_character = rows[-1]["locale"] in CHARACTER_LOCALES
    gold, predicted = [], []
    for i, row in enumerate(rows):
        tokens, tags = gold_tags(row)
        pairs = answers[i][0] if i < len(answers) else []
        gold.append(tags)
        predicted.append(tag(tokens, len(tags), pairs, by_character))
    return gold, predicted, sum(malformed for _, malformed in answers)


def spans(tags):
    """Runs of one label: list of (label, (start, end))."""
    found, start = [], 0
    for i in range(1, len(tags) + 1):
        if i == len(tags) or tags[i] != tags[start]:
            if tags[start] != OTHER:
                found.append((tags[start], (start, i)))
            start = i
    return found

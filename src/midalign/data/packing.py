"""Batches without padding and without repetition: what rows share is there once, sentences lie end to end.

A packed batch holds pieces of several rows in one sequence, or in several where that costs less: attention is paid for
by the square of their length. Positions restart with every row and a block mask (`data.masks`) lets a token see its own
piece and, for task rows, the shared prefix before it, so causal attention computes for each row what it computes alone:
exact, up to the order of sums. Dropout is drawn once for a shared prefix instead of once per row.

Legend: R packed sequences, N tokens of each, B pairs, T tokens of the longest sentence.
"""

from itertools import pairwise

import torch

LEAST = 1024  # tokens of a sequence: cutting shorter ones saves no time


def prefix_groups(rows):
    """Split rows into groups that share a prefix, so that the fewest tokens remain.

    rows: dicts with input_ids and labels (-100 = not trained).
    Returns [(prefix length, rows)]; rows of several tasks with instructions of their own form several groups.
    """
    rows = sorted(rows, key=lambda row: row["input_ids"])  # rows that share most become neighbours
    # best[i]: (tokens saved in the first i rows, where their last group starts, its prefix)
    best = [(0, 0, 0)]
    own = [_untrained(row) for row in rows]
    common = [_common(*neighbours) for neighbours in pairwise(rows)]
    for end in range(1, len(rows) + 1):
        prefix, options = own[end - 1], []
        for start in range(end - 1, -1, -1):
            if start < end - 1:
                prefix = min(prefix, own[start], common[start])
            options.append((best[start][0] + (end - start - 1) * prefix, start, prefix))
        best.append(max(options))
    groups, end = [], len(rows)
    while end:
        _, start, prefix = best[end]
        groups.append((prefix if end - start > 1 else 0, rows[start:end]))
        end = start
    return groups[::-1]


def _untrained(row):
    """Tokens before the one that predicts the first trained token: its prediction must not come from a prefix."""
    labels = row["labels"]
    return max(next((i for i, label in enumerate(labels) if label != -100), len(labels)) - 1, 0)


def _common(row, other):
    """Length of the common prefix of two rows."""
    pairs = zip(row["input_ids"], other["input_ids"], strict=False)
    shortest = min(len(row["input_ids"]), len(other["input_ids"]))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), shortest)


def cost(sequences, tokens, hidden_size):
    """What a pass costs, in tokens that only go through matrices: 24 H^2 operations each in a layer. A pair of tokens
    costs 4 H in its attention, seen or masked.
    """
    return sequences * (tokens + tokens**2 / (6 * hidden_size))


def pack_task(rows, hidden_size=None):
    """Task rows -> packed sequences, in each the shared prefixes before the rows that share them.

    hidden_size: for as many sequences as cost least (`cost`); one, whatever its length, when None.
    Returns input_ids, position_ids, segments (the piece a token belongs to), prefixes (the piece that it sees beside
    its own), copies (how many rows it is a part of), labels and shift_labels (the label of the next token of the same
    row, as TRL's fused head takes it), each (R, N) int64, where rows have a `task` also tasks, that of each label;
    labelled, which of the R x N tokens predict a label, (labels,) int64; saved, the share of the rows' tokens that are
    not computed.
    """
    names = ("input_ids", "position_ids", "segments", "prefixes", "copies", "labels", "shift_labels")
    names += ("tasks",) if "task" in rows[0] else ()
    sequences = _layout(rows, hidden_size)
    columns = {name: [[] for _ in sequences] for name in names}
    for number, row, start, end, segment, prefix, copies in _pieces(sequences):
        values = (segment, prefix, copies, *((row["task"],) if "task" in row else ()))
        segments, prefixes, copies, *tasks = ([value] * (end - start) for value in values)
        shared = prefix == segment  # its last token predicts another one in each row
        labels = [-100] * end if shared else row["labels"]
        own = labels[start:end]
        pieces = (row["input_ids"][start:end], range(start, end), segments, prefixes, copies)
        for name, piece in zip(names, (*pieces, own, [*own[1:], -100][: len(own)], *tasks), strict=True):
            columns[name][number] += piece
    packed = _filled(columns)
    return packed | {
        "labelled": (packed["shift_labels"].flatten() != -100).nonzero()[:, 0],
        "saved": 1 - packed["input_ids"].numel() / sum(len(row["input_ids"]) for row in rows),
    }


def _layout(rows, hidden_size):
    """Packed sequences, each of groups (prefix length, rows); all rows are in one when hidden_size is None."""
    groups = prefix_groups(rows)
    best = [groups]
    width = _length(groups)
    longest = max(len(row["input_ids"]) for row in rows)
    while hidden_size and width > max(longest, LEAST):
        width = max(width // 2, longest, LEAST)
        best = min(best, _cut(groups, width), key=lambda found: cost(len(found), max(map(_length, found)), hidden_size))
    return best


def _length(groups):
    """Tokens of a packed sequence."""
    return sum(length + sum(len(row["input_ids"]) - length for row in members) for length, members in groups)


def _cut(groups, width):
    """Packed sequences of at most `width` tokens, filled by first fit, long rows first; a prefix is in each that has
    rows of its group.
    """
    free, sequences = [], []
    for group, (length, members) in enumerate(groups):
        for row in sorted(members, key=lambda row: -len(row["input_ids"])):
            tokens = len(row["input_ids"])
            needed = [tokens - length if group in own else tokens for own in sequences]
            number = next((i for i, room in enumerate(free) if room >= needed[i]), len(free))
            if number == len(free):
                free.append(width)
                sequences.append({})
                needed.append(tokens)
            free[number] -= needed[number]
            sequences[number].setdefault(group, (length, []))[1].append(row)
    return [list(own.values()) for own in sequences]


def _pieces(sequences):
    """Yields (number of the sequence, row, start, end, segment, prefix, copies) of each piece of packed sequences: the
    tokens start..end of a row, which see the piece `prefix` beside their own; a shared prefix, its own prefix, is that
    of `copies` rows.
    """
    for number, groups in enumerate(sequences):
        segment = 0
        for length, members in groups:
            prefix = segment
            yield number, members[0], 0, length, prefix, prefix, len(members)
            for row in members:
                segment += 1
                yield number, row, length, len(row["input_ids"]), segment, prefix, 1
            segment += 1


def _filled(columns):
    """{name: a list for each sequence} -> {name: (R, N)}: what fills up short ones is a piece of its own, in no row."""
    width = max(map(len, columns["input_ids"]))
    last = [max(own) + 1 for own in columns["segments"]]
    fill = dict.fromkeys(("labels", "shift_labels"), [-100] * len(last)) | {"segments": last, "prefixes": last}
    return {
        name: torch.tensor(
            [
                own + [value] * (width - len(own))
                for own, value in zip(lists, fill.get(name, [0] * len(last)), strict=True)
            ]
        )
        for name, lists in columns.items()
    }


def pack_behind_prefix(sentences, starts, hidden_size=None):
    """Sentences that begin alike, as in a prompt -> packed sequences, in each what they share before them once.

    sentences: lists of ids.   starts: of the first token of each that is pooled.   hidden_size: as of `pack_task`.
    Returns input_ids, position_ids, segments, prefixes: (R, N) int64, as of `pack_task`; and places, pooled:
    (sentences, T) int64, where in the R x N tokens those of each sentence are that are pooled (`unpack`).
    """
    rows = [{"input_ids": ids, "labels": [-100] * len(ids), "number": i} for i, ids in enumerate(sentences)]
    sequences = _layout(rows, hidden_size)
    columns = {name: [[] for _ in sequences] for name in ("input_ids", "position_ids", "segments", "prefixes")}
    width = max(map(_length, sequences))
    shared, places = range(0), [()] * len(rows)
    for number, row, start, end, segment, prefix, _ in _pieces(sequences):
        length = end - start
        before = number * width + len(columns["input_ids"][number])
        here = range(before, before + length)
        if prefix == segment:
            shared = here
        else:  # a sentence may begin with the same words as all others: these are part of what is shared
            places[row["number"]] = [*shared, *here][starts[row["number"]] :]
        pieces = (row["input_ids"][start:end], range(start, end), [segment] * length, [prefix] * length)
        for name, piece in zip(columns, pieces, strict=True):
            columns[name][number] += piece
    width = max(map(len, places))
    return {
        **_filled(columns),
        "places": torch.tensor([[*own, *([0] * (width - len(own)))] for own in places]),
        "pooled": torch.tensor([[1] * len(own) + [0] * (width - len(own)) for own in places]),
    }


def pack_sentences(sentences):
    """Sentences -> packed sequences as long as the longest one, filled by first fit, long sentences first.

    sentences: lists of ids.
    Returns input_ids, position_ids, segments, prefixes: (R, T) int64, where a filler token is a piece of its own and
    every piece its own prefix; and places, attention_mask: (sentences, T) int64, where in the R x T tokens each
    sentence's tokens are (`unpack`).
    """
    width = max(map(len, sentences))
    free, sequences = [], []
    for number in sorted(range(len(sentences)), key=lambda i: -len(sentences[i])):
        length = len(sentences[number])
        bin_ = next((i for i, room in enumerate(free) if room >= length), len(free))
        if bin_ == len(free):
            free.append(width)
            sequences.append([])
        free[bin_] -= length
        sequences[bin_].append(number)

    size = (len(sequences), width)
    input_ids, position_ids = torch.zeros(size, dtype=torch.int64), torch.zeros(size, dtype=torch.int64)
    segments = torch.full(size, len(sentences))
    places = torch.zeros(len(sentences), width, dtype=torch.int64)
    mask = torch.zeros(len(sentences), width, dtype=torch.int64)
    for row, numbers in enumerate(sequences):
        start = 0
        for number in numbers:
            end = start + len(sentences[number])
            input_ids[row, start:end] = torch.tensor(sentences[number])
            position_ids[row, start:end] = torch.arange(end - start)
            segments[row, start:end] = number
            places[number, : end - start] = torch.arange(start, end) + row * width
            mask[number, : end - start] = 1
            start = end
    return {
        "input_ids": input_ids,
        "position_ids": position_ids,
        "segments": segments,
        "prefixes": segments,
        "places": places,
        "attention_mask": mask,
    }


def unpack(states, places):
    """States of packed sequences -> states of sentences.

    states: (R, T, H).   places: (sentences, T).   Returns (sentences, T, H); padding repeats some token's state.
    """
    return states.flatten(0, 1)[places]

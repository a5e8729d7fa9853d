"""Batches without padding and without repetition: what rows share is there once, sentences lie end to end.

A packed batch holds pieces of several rows in one sequence. Positions restart with every row and a block mask lets a
token see its own piece and, for task rows, the shared prefix before it, so causal attention computes for each row
what it computes alone: exact, up to the order of sums. Dropout is drawn once for a shared prefix instead of once
per row.

Legend: R packed sequences, N tokens of each, B pairs, T tokens of the longest sentence.
"""

from itertools import pairwise

import torch


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


def pack_task(rows):
    """Task rows -> one packed sequence, each shared prefix before the rows that share it.

    Returns input_ids, position_ids, segments (the piece a token belongs to), prefixes (the piece that it sees beside
    its own), copies (how many rows it is a part of), labels and shift_labels (the label of the next token of the same
    row, as TRL's fused head takes it), each (1, N) int64, where rows have a `task` also tasks, that of each label;
    saved, the share of the rows' tokens that are not computed.
    """
    names = ("input_ids", "position_ids", "segments", "prefixes", "copies", "labels", "shift_labels")
    names += ("tasks",) if "task" in rows[0] else ()
    columns = {name: [] for name in names}
    for row, start, end, segment, prefix, copies in _pieces(rows):
        values = (segment, prefix, copies, *((row["task"],) if "task" in row else ()))
        segments, prefixes, copies, *tasks = ([value] * (end - start) for value in values)
        shared = prefix == segment  # its last token predicts another one in each row
        labels = [-100] * end if shared else row["labels"]
        own = labels[start:end]
        pieces = (row["input_ids"][start:end], range(start, end), segments, prefixes, copies)
        for name, piece in zip(names, (*pieces, own, [*own[1:], -100][: len(own)], *tasks), strict=True):
            columns[name] += piece
    saved = 1 - len(columns["input_ids"]) / sum(len(row["input_ids"]) for row in rows)
    return {name: torch.tensor([values]) for name, values in columns.items()} | {"saved": saved}


def _pieces(rows):
    """Yields (row, start, end, segment, prefix, copies) of each piece of a packed sequence: the tokens start..end of a
    row, which see the piece `prefix` beside their own; a shared prefix, its own prefix, is that of `copies` rows.
    """
    segment = 0
    for length, members in prefix_groups(rows):
        prefix = segment
        yield members[0], 0, length, prefix, prefix, len(members)
        for row in members:
            segment += 1
            yield row, length, len(row["input_ids"]), segment, prefix, 1
        segment += 1


def pack_behind_prefix(sentences, starts):
    """Sentences that begin alike, as in a prompt -> one packed sequence, what they share before them once.

    sentences: lists of ids.   starts: of the first token of each that is pooled.
    Returns input_ids, position_ids, segments, prefixes: (1, N) int64, as of `pack_task`; and places, pooled:
    (sentences, T) int64, where in the N tokens those of each sentence are that are pooled (`unpack`).
    """
    rows = [{"input_ids": ids, "labels": [-100] * len(ids), "number": i} for i, ids in enumerate(sentences)]
    columns = {name: [] for name in ("input_ids", "position_ids", "segments", "prefixes")}
    shared, places = range(0), [()] * len(rows)
    for row, start, end, segment, prefix, _ in _pieces(rows):
        here = range(len(columns["input_ids"]), len(columns["input_ids"]) + end - start)
        if prefix == segment:
            shared = here
        else:  # a sentence may begin with the same words as all others: these are part of what is shared
            places[row["number"]] = [*shared, *here][starts[row["number"]] :]
        length = end - start
        pieces = (row["input_ids"][start:end], range(start, end), [segment] * length, [prefix] * length)
        for name, piece in zip(columns, pieces, strict=True):
            columns[name] += piece
    width = max(map(len, places))
    return {
        **{name: torch.tensor([values]) for name, values in columns.items()},
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


def block_mask(segments, prefixes, dtype):
    """Additive attention mask of packed sequences, for sdpa and eager attention.

    segments, prefixes: (R, N).   Returns (R, 1, N, N) of `dtype`: 0 where query (row) may see key (column).
    """
    key, length = segments[:, None, :], segments.size(1)
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    visible = causal & ((key == segments[:, :, None]) | (key == prefixes[:, :, None]))
    mask = torch.zeros(visible.shape, dtype=dtype, device=segments.device)
    return mask.masked_fill(~visible, torch.finfo(dtype).min)[:, None]

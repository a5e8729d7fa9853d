"""Pairs of a test, as `read_pairs` gives those of files, and as token ids."""

from midalign.data.checks import Sieve
from midalign.data.pair_rows import pair_rows
from midalign.data.pairs import Pairs, pair_table


def as_pairs(pairs):
    """Dicts with source, target, source_lang and what else they have, unchecked."""
    return Pairs.of(pair_table([{"target_lang": "en", **pair} for pair in pairs]).drop_columns("problem"))


def tokenised(pairs, tokenizer):
    """The rows of `pair_rows`, a list."""
    return pair_rows(as_pairs(pairs), tokenizer, None, Sieve()).to_list()

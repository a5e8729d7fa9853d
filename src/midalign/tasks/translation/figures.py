"""BLEU and chrF++ as functions of counts that add up, equal to sacrebleu's on the same segments.

Counts of a row are sacrebleu's own. Of BLEU: length of the answer, length of the reference, matched 1- to 4-grams, all
1- to 4-grams of the answer. Of chrF++, for each of 6 orders of letters and 2 of words: n-grams of the answer, of the
reference, and matched ones.
"""

import functools

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from midalign.languages import language_of, primary_of
from midalign.texts import squeeze

ORDERS = 4  # of BLEU
# What sacrebleu takes for a target language, except that nothing need be installed or fetched: it cuts Japanese and
# Korean into words with MeCab, and leaves a sentence that is written without spaces one word.
TOKENIZERS = dict.fromkeys(("zh", "yue", "wuu"), "zh") | dict.fromkeys("ja ko th lo km my bo dz".split(), "char")


def tokenizer_of(language):
    """sacrebleu's name of what cuts a target language, any tag of it, into the words of BLEU."""
    return TOKENIZERS.get(primary_of(language_of(language)), "13a")


@functools.cache
def _metric(name, tokenizer):
    return CHRF(word_order=2) if name == "chrf" else BLEU(tokenize=tokenizer, force=True)  # force: no advice on stderr


def counts(name, language, answer, reference):
    """The counts of one answer.   name: bleu or chrf.   language: of the reference.   Returns a list of int.

    Line breaks are spaces: sacrebleu's command line reads a segment a line.
    """
    metric = _metric(name, tokenizer_of(language))
    return metric._extract_corpus_statistics([squeeze(answer)], [[squeeze(reference)]])[0]


def signature(name, language):
    """What sacrebleu's command line says of how it computed a figure."""
    counts(name, language, "", "a")  # it tells after it has seen a reference
    return str(_metric(name, tokenizer_of(language)).get_signature())


def bleu(sums):
    """BLEU of summed counts, smoothed as sacrebleu's default (exp).   sums: (..., 10).   Returns (...), 0..1."""
    sums = np.asarray(sums, dtype=float)
    length, reference = sums[..., 0], sums[..., 1]
    matched, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    missed = matched == 0
    precision = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matched) / np.maximum(total, 1)
    brevity = np.exp(np.minimum(0, 1 - reference / np.maximum(length, 1)))
    defined = (total > 0).all(axis=-1) & matched.any(axis=-1)
    return np.where(defined, brevity * np.exp(np.log(precision).mean(axis=-1)), 0)


def chrf(sums):
    """chrF++ of summed counts: F with recall twice as important.   sums: (..., 24).   Returns (...), 0..1."""
    sums = np.asarray(sums, dtype=float)
    answer, reference, matched = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)  # (..., 8) each
    both = (answer > 0) & (reference > 0)
    orders = np.maximum(both.sum(axis=-1), 1)
    precision = np.where(both, matched / np.maximum(answer, 1), 0).sum(axis=-1) / orders
    recall = np.where(both, matched / np.maximum(reference, 1), 0).sum(axis=-1) / orders
    return 5 * precision * recall / np.where(precision + recall > 0, 4 * precision + recall, 1)

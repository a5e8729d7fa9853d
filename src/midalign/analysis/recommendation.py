"""Which layer to align at, how sure that is, and whether retrieval goes with transfer.

Legend: L decoder layers, U units (sentences of the pivot), R draws.
"""

import math

import numpy as np

FEWEST = 30  # units below which resampling sees too few different samples
DRAWS = 1000


def recommend(right, asked, chance, seed=0):
    """The layer at which most sentences find their translation by cosine, as a JSON object; None for one layer.

    right, asked: as `layers.Measured` has them.   chance: the share that unrelated states would find.
    Layers are 1..L-1, what align_layer takes. Units are drawn with replacement, each in all its languages at once:
    `interval` (95 %, of the layer's retrieval), `best_in` (share of draws in which this layer is best) and `as_good`
    (layers of which the 95 % interval of the difference to it holds 0) are None for fewer than 30 units. Candidates
    stay what they are: with more of them every layer finds less.
    """
    depth = len(right) - 1
    if depth < 2:
        return None
    retrieval = right.sum(axis=1) / asked.sum()  # (L + 1,)
    layer = 1 + int(retrieval[1:depth].argmax())
    result = {"layer": layer, "retrieval_at_1": float(retrieval[layer]), "chance": chance, "of_layers": depth}
    if len(asked) < FEWEST:
        return result | {"interval": None, "best_in": None, "as_good": None}
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(asked), np.full(len(asked), 1 / len(asked)), size=DRAWS)  # (R, U)
    drawn = (draws @ right.T) / (draws @ asked)[:, None]  # (R, L + 1)
    behind = np.quantile(drawn[:, [layer]] - drawn, 0.025, axis=0)  # (L + 1,)
    return result | {
        "interval": np.quantile(drawn[:, layer], [0.025, 0.975]).tolist(),
        "best_in": float((1 + drawn[:, 1:depth].argmax(axis=1) == layer).mean()),
        "as_good": [other for other in range(1, depth) if other != layer and behind[other] <= 0],
    }


def correlation(retrieval, scores):
    """Pearson's r of two figures over languages: {"r", "interval", "languages"}, interval None for under 4 languages.

    retrieval, scores: {language: figure}; the languages in both count. r is None for under 3, or where one does not
    vary. The 95 % interval is Fisher's: tanh(artanh r -+ 1.96 / sqrt(n - 3)).
    """
    shared = sorted(retrieval.keys() & scores.keys())
    x, y = (np.array([figures[language] for language in shared], float) for figures in (retrieval, scores))
    result = {"r": None, "interval": None, "languages": shared}
    if len(shared) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return result
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
    if len(shared) > 3 and abs(r) < 1:
        half = 1.959964 / math.sqrt(len(shared) - 3)
        result["interval"] = [math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)]
    return result | {"r": r}

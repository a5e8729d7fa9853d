"""Slot filling: MASSIVE's rows, the prompt, the answer, and its score.

The two names that others import are here: `target` writes the answer to an annotated utterance, `score` scores answers.
"""

from midalign.tasks.slots.massive import target
from midalign.tasks.slots.scoring import score

__all__ = ["score", "target"]

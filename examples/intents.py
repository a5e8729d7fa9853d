"""A task of one's own: which of MASSIVE's 60 intents an utterance has.

In a recipe `task:` names this file, and `task_data:` a folder with <language>/{train,validation,test}.jsonl.
"""

from midalign.tasks.base import Task


class Intents(Task):
    """`wake me at nine` is answered `alarm set`."""

    fields = ("utt", "intent")  # what a row needs text in; id, locale and partition are filled in where it has none
    text = "utt"  # the one that asks
    instruction = "Name the intent of the utterance, such as alarm set or weather query."
    max_new_tokens = 16

    def gold(self, row):
        """What is learned, and what an answer must be. Scored by accuracy; `counts` and `figures` may say otherwise."""
        return row["intent"].replace("_", " ")

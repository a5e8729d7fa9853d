"""Intents: MASSIVE's 60 intents and 18 scenarios as short answers, `alarm set`, scored by accuracy.

The scenario is the first word of the intent. Source: MASSIVE 1.1, https://github.com/alexa/massive, arXiv 2204.08582.
"""

import functools
from collections import Counter
from typing import ClassVar

from midalign.demo import corpus
from midalign.tasks.base import Figure, accuracy, micro_f1
from midalign.tasks.on_massive import OnMassive
from midalign.tasks.thoughts import without_thought
from midalign.texts import shown, squeeze

INTENTS = frozenset(
    """
    alarm_query alarm_remove alarm_set audio_volume_down audio_volume_mute audio_volume_other audio_volume_up
    calendar_query calendar_remove calendar_set cooking_query cooking_recipe datetime_convert datetime_query
    email_addcontact email_query email_querycontact email_sendemail general_greet general_joke general_quirky
    iot_cleaning iot_coffee iot_hue_lightchange iot_hue_lightdim iot_hue_lightoff iot_hue_lighton iot_hue_lightup
    iot_wemo_off iot_wemo_on lists_createoradd lists_query lists_remove music_dislikeness music_likeness music_query
    music_settings news_query play_audiobook play_game play_music play_podcasts play_radio qa_currency qa_definition
    qa_factoid qa_maths qa_stock recommendation_events recommendation_locations recommendation_movies social_post
    social_query takeaway_order takeaway_query transport_query transport_taxi transport_ticket transport_traffic
    weather_query
    """.split()
)


class Intents(OnMassive):
    """What an utterance wants: `alarm set`."""

    fields = ("id", "locale", "partition", "utt", "intent")
    instruction = "Name the intent of the utterance, such as alarm set or weather query."
    max_new_tokens = 16
    figures: ClassVar = {"accuracy": Figure("accuracy", accuracy), "scenario": Figure("scenario", accuracy)}
    explained = "accuracy: the intent is right; scenario: its first word is"
    part = "intent"

    def gold(self, row):
        return _as_words(row["intent"])

    def problem(self, row):
        if row["intent"] in INTENTS | _demo_intents():
            return None
        return f"has intent {shown(row['intent'])}, which MASSIVE does not know; use {', '.join(sorted(INTENTS))}"

    def counts(self, row, answer):
        gold, said = self.gold(row), _said(answer)
        return {"accuracy": (said == gold, 1), "scenario": (said.split()[:1] == gold.split()[:1], 1)}

    def report(self, rows, answers):
        golds, said = [self.gold(row) for row in rows], [_said(answer) for answer in answers]
        right = Counter(gold for gold, own in zip(golds, said, strict=True) if gold == own)
        support, claimed = Counter(golds), Counter(said)
        parts = {
            intent: {
                "precision": right[intent] / claimed[intent] if claimed[intent] else 0.0,
                "recall": right[intent] / count,
                "f1": float(micro_f1((right[intent], claimed[intent] - right[intent], count - right[intent]))),
                "support": count,
            }
            for intent, count in sorted(support.items())
        }
        return {**super().report(rows, answers), "per_intent": parts}


@functools.cache
def _demo_intents():
    """Those of the embedded corpus, some of them its own."""
    return frozenset(row["intent"] for row in corpus.rows("en-US", "train"))


def _as_words(intent):
    return intent.replace("_", " ")


def _said(answer):
    """An answer as it is compared: the thought before it left out, case and white space alike."""
    return squeeze(_as_words(without_thought(answer))).casefold().rstrip(".")

r"""MASSIVE slot filling: its annotation, our prompt, and the one written form of an answer.

An annotation is `wake me at [time : nine am] [date : friday]`. The answer to learn is
`time: nine am; date: friday`, or `None` when the utterance has no slot.

How a value is written and read back (here and nowhere else):
* parts are joined by "; ", and only the first ":" of a part separates slot from words, so ":" needs no mark;
* ";" is written "\;" and "\" is written "\\"; a "\" before anything else is read as itself;
* a run of white space, line breaks included, becomes one space, and none stays before a ":" ("5 : 30 pm" is
  written "5: 30 pm", as the reference writes it);
* in a model's answer a line break ends a part, as ";" does.

Source: MASSIVE 1.1, https://github.com/alexa/massive, arXiv 2204.08582.
"""

import re

from midalign.errors import InputError
from midalign.languages import primary_of
from midalign.tasks.thoughts import without_thought
from midalign.texts import quoted, shown, squeeze

INSTRUCTION = (
    "Extract the words of the utterance that fill slots, such as a time, a place or a person. "
    "Copy them exactly, in the order they appear. "
    "Answer on one line as `slot: words; slot: words`, one pair for every slot. "
    "If the utterance has none, answer None."
)

SLOTS = frozenset(
    """
    alarm_type app_name artist_name audiobook_author audiobook_name business_name business_type
    change_amount coffee_type color_type cooking_type currency_name date definition_word device_type
    drink_type email_address email_folder event_name food_type game_name game_type general_frequency
    house_place ingredient joke_type list_name meal_type media_type movie_name movie_type music_album
    music_descriptor music_genre news_topic order_type person personal_info place_name player_setting
    playlist_name podcast_descriptor podcast_name radio_name relation song_name sport_type time time_zone
    timeofday transport_agency transport_descriptor transport_name transport_type weather_descriptor
    """.split()
)
LOCALES = tuple(
    """
    af-ZA am-ET ar-SA az-AZ bn-BD ca-ES cy-GB da-DK de-DE el-GR en-US es-ES fa-IR fi-FI fr-FR he-IL hi-IN
    hu-HU hy-AM id-ID is-IS it-IT ja-JP jv-ID ka-GE km-KH kn-IN ko-KR lv-LV ml-IN mn-MN ms-MY my-MM nb-NO
    nl-NL pl-PL pt-PT ro-RO ru-RU sl-SL sq-AL sv-SE sw-KE ta-IN te-IN th-TH tl-PH tr-TR ur-PK vi-VN zh-CN
    zh-TW
    """.split()
)
# The paper's split (arXiv 2502.14830), SUPERVISED from memory: there are labels
# in SUPERVISED; ALIGNED only has translation pairs.
SUPERVISED = ("ar-SA", "en-US", "es-ES", "ru-RU", "zh-CN")
ALIGNED = ("cy-GB", "ja-JP", "jv-ID", "sw-KE", "tr-TR")

BRACKET = re.compile(r"\[([^\[\]:]*):([^\[\]]*)\]")
PART = re.compile(r"(?:\\[;\\]|[^;\r\n])+")  # up to a line break or a ";" without "\"


def find_locale(name):
    """The MASSIVE locale that `sw-KE` or `sw` means. Raises InputError for an unknown or ambiguous name."""
    found = [name] if name in LOCALES else [locale for locale in LOCALES if primary_of(locale) == name]
    if not found:
        raise InputError(f"locale {shown(name)} is not in MASSIVE; use any of {', '.join(LOCALES)}.")
    if len(found) > 1:
        raise InputError(f"locale {name} could be {' or '.join(found)}; name one.")
    return found[0]


def segments(annot_utt):
    """Cut an annotation into (slot, words) pieces in order; plain text has slot None.

    "at [time : nine am] ok" -> [(None, "at"), ("time", "nine am"), (None, "ok")]
    Errors: ValueError for a bracket that is not a whole "[slot : words]".
    """
    pieces, end = [], 0
    for match in [*BRACKET.finditer(annot_utt), None]:
        plain = annot_utt[end : match.start() if match else None]
        if "[" in plain or "]" in plain:
            raise ValueError(_bad_bracket(annot_utt, plain))
        if plain.strip():
            pieces.append((None, squeeze(plain)))
        if match:
            slot, words = map(squeeze, match.groups())
            if not slot or not words:
                raise ValueError(_bad_bracket(annot_utt, match[0]))
            pieces.append((slot, words))
            end = match.end()
    return pieces


def parse(annot_utt):
    """The slots of an annotation, in order of appearance: list of (slot, words).

    Errors: ValueError for a bracket that is not a whole "[slot : words]".
    """
    return [(slot, words) for slot, words in segments(annot_utt) if slot is not None]


def target(annot_utt):
    """The answer a model should give: "time: nine am; date: friday", or "None" without slots."""
    return write_target(parse(annot_utt))


def write_target(pairs):
    """Write (slot, words) pairs as one line; the module docstring has the rules. Slot names hold no ":"."""
    return "; ".join(f"{_mark(slot)}: {_mark(clean(words))}" for slot, words in pairs) or "None"


def read_target(text):
    """Inverse of `write_target` that takes any string a model may produce and never raises.

    Returns list of (slot, words). A part without ":" or with nothing on one side of it is dropped.
    """
    return read_answer(text)[0]


def read_answer(text):
    """`read_target` and how many parts it dropped: (list of (slot, words), malformed).

    A thought before the answer is no part of it. "None" in any case is the answer without slots; an answer with nothing
    in it is one malformed part.
    """
    pairs, malformed, parts = [], 0, 0
    for part in PART.findall(without_thought(text)):
        if not part.strip():
            continue
        parts += 1
        slot, _, words = part.partition(":")
        slot, words = clean(_unmark(slot)), clean(_unmark(words))
        if slot and words:
            pairs.append((slot, words))
        elif part.strip().casefold() != "none":
            malformed += 1
    return pairs, malformed if parts else 1


def clean(words):
    """One space for every run of white space and none before a ":"."""
    return squeeze(words).replace(" :", ":")


def _mark(text):
    return text.replace("\\", "\\\\").replace(";", "\\;")


def _unmark(text):
    return re.sub(r"\\([;\\])", r"\1", text)


def _bad_bracket(annot_utt, found):
    return (
        f"annot_utt {quoted(annot_utt)} has a broken bracket in {quoted(found.strip())}; every bracket must be a whole "
        '"[slot : words]": mend or drop that row.'
    )

"""Whatever a file holds, reading it gives rows or one sentence."""

import json

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from midalign.data.checks import PAIR_FIELDS
from midalign.data.pairs import read_pairs
from midalign.data.reading import task_rows
from midalign.errors import InputError
from midalign.recipe import read_recipe
from midalign.tasks.slots import massive
from midalign.tasks.slots.task import Slots

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def one_sentence(error):
    text = str(error.value)
    assert text and text.isprintable() and len(text) < 3000 and "Traceback" not in text


@given(st.text())
@example("[time : nine] [")
@example("[[[[")
def test_an_annotation_is_parsed_or_refused(text):
    try:
        pairs = massive.parse(text)
    except ValueError as error:
        assert "broken bracket" in str(error)
    else:
        assert all(slot and words for slot, words in pairs)


@given(st.lists(st.tuples(st.sampled_from(sorted(massive.SLOTS)), st.text().filter(lambda t: t.strip()))))
def test_every_target_can_be_read_back(pairs):
    expected = [(slot, massive.clean(words)) for slot, words in pairs if massive.clean(words)]
    assert massive.read_target(massive.write_target(expected)) == expected


@SHARED_FOLDER
@given(st.binary() | st.lists(ANYTHING).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()))
@example(b"\xef\xbb\xbf")
@example(b"{}\r\n\r\n{}")
def test_any_file_of_pairs_is_read_or_refused_in_one_sentence(tmp_path, content):
    file = tmp_path / "p.jsonl"
    file.write_bytes(content)
    try:
        pairs = read_pairs([str(file)])
    except InputError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert not len(pairs)


@SHARED_FOLDER
@given(st.dictionaries(st.sampled_from(PAIR_FIELDS), ANYTHING))
def test_any_object_is_a_pair_or_refused_in_one_sentence(tmp_path, record):
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps(record), encoding="utf-8")
    try:
        (pair,) = read_pairs([str(file)])
    except InputError as error:
        assert f"{file} line 1 " in str(error) and str(error).isprintable() and len(str(error)) < 3000
    else:
        assert pair["target_lang"] == "en" and pair["source"].strip() and pair["target"].strip()


@SHARED_FOLDER
@given(st.dictionaries(st.sampled_from(Slots.fields), ANYTHING))
def test_any_object_is_a_task_row_or_refused_in_one_sentence(tmp_path, record):
    file = tmp_path / "de-DE" / "test.jsonl"
    file.parent.mkdir(exist_ok=True)
    good = {"id": "x", "locale": "de-DE", "partition": "test", "utt": "licht", "annot_utt": "licht"}
    file.write_text("\n".join(map(json.dumps, (good, record))), encoding="utf-8")
    with pytest.raises(InputError) as error:
        task_rows(Slots(), str(tmp_path), "de-DE", "test", "main")
    assert f"{file} line 2 " in str(error.value) and str(error.value).isprintable() and len(str(error.value)) < 3000


KEYS = st.sampled_from(["align_layer", "seed", "use_cpu", "task_languages", "x"])


@SHARED_FOLDER
@given(st.text() | st.dictionaries(KEYS, ANYTHING).map(yaml.safe_dump))
@example("[\U00018d09")  # the error of YAML repeats it, and no printer knows it
def test_any_recipe_is_refused_in_one_sentence(tmp_path, text):
    file = tmp_path / "r.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError) as error:  # no recipe of these names model, data and output folder
        read_recipe([str(file)])
    one_sentence(error)

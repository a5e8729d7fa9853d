"""Which checkpoints are whole, which may go, and which one a run goes on from."""

import json
import os
import shutil

import pytest

from midalign.errors import InputError
from midalign.training import checkpoints

MADE_FROM = {"recipe": {"seed": 1}, "data": {}, "step": {}, "engine": "single", "processes": 1}
FILES = {
    "adapter_model.safetensors": bytes(range(64)),
    "optimizer.pt": b"momentum" * 4,
    "scheduler.pt": b"rate",
    "rng_state.pth": b"random",
    "trainer_state.json": b'{"best_model_checkpoint": null}',
    "log_window_0.json": b"{}",
    "global_step1/shard.pt": b"shard",
}


@pytest.fixture
def written(tmp_path):
    """written(step, **changes of the recipe) -> a whole checkpoint in tmp_path, as a run leaves it."""

    def write(step, state=None, **recipe):
        staging = tmp_path / "incomplete"
        folder = staging / f"checkpoint-{step}"
        for name, content in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        if state:
            (folder / "trainer_state.json").write_text(json.dumps(state))
        checkpoints.seal(folder, {**MADE_FROM, "recipe": recipe})
        checkpoints.place(staging, tmp_path / folder.name)
        return tmp_path / folder.name

    return write


@pytest.fixture
def left(tmp_path):
    """left(limit, just written, best) -> the names that are left after a rotation."""

    def rotate(limit, *kept):
        checkpoints.rotate(tmp_path, limit, kept, tmp_path / "incomplete")
        return sorted(path.name for path in tmp_path.iterdir())

    return rotate


def flip_a_bit(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["bit", "zeros", "short", "gone"])
def test_damage_to_any_file_is_seen_and_the_run_goes_on_from_the_one_before(name, damage, written, tmp_path):
    before, newest = written(2), written(10)
    file = newest / name
    if damage == "bit":
        flip_a_bit(file, -1)
    elif damage == "zeros":
        file.write_bytes(bytes(file.stat().st_size))
    elif damage == "short":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()
    found, torn = checkpoints.newest_whole(tmp_path)
    assert found == str(before)
    assert len(torn) == 1 and f"checkpoint-10 is not whole, {name} " in torn[0]


def test_a_flipped_bit_in_the_seal_is_seen(written, tmp_path):
    before, newest = written(2), written(10)
    text = (newest / checkpoints.SEAL).read_bytes()
    for place in range(0, len(text), 7):
        (newest / checkpoints.SEAL).write_bytes(text)
        flip_a_bit(newest / checkpoints.SEAL, place)
        if json_of(newest / checkpoints.SEAL) == json.loads(text):
            continue  # a blank for a blank
        assert checkpoints.newest_whole(tmp_path)[0] == str(before)


def json_of(file):
    try:
        return json.loads(file.read_bytes())
    except ValueError:
        return None


def test_a_whole_checkpoint_is_found_whatever_stands_beside_it(written, tmp_path):
    newest = written(10)
    for name in (
        "checkpoint-best",
        "checkpoint-99-keep",
        "checkpoint-",
        "checkpoint-011",
        "checkpoint-¹²",
        "checkpoint--3",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-12").write_text("a file")
    assert checkpoints.newest_whole(tmp_path) == (str(newest), [])


def test_a_copy_under_another_step_is_passed_over_and_said(written, tmp_path):
    newest = written(10)
    shutil.copytree(newest, tmp_path / "checkpoint-99")
    found, torn = checkpoints.newest_whole(tmp_path)
    assert found == str(newest) and "checkpoint-99 is not whole, its name is not the one" in torn[0]
    assert checkpoints.tear(tmp_path / "checkpoint-99") is None  # by name one can go on from it


def test_a_seal_of_an_older_version_counts_sizes(written, tmp_path):
    newest = written(10)
    sizes = {name: len(content) for name, content in FILES.items()}
    (newest / checkpoints.SEAL).write_text(json.dumps({"files": sizes, **MADE_FROM}))
    assert checkpoints.newest_whole(tmp_path) == (str(newest), [])
    checkpoints.require_same(newest, MADE_FROM)
    (newest / "optimizer.pt").write_bytes(b"short")
    assert checkpoints.tear(newest) == "optimizer.pt has 5 of 32 bytes"


SEALS = [
    "",
    "null",
    "[]",
    "3",
    "{}",
    "[" * 100_000,
    '{"files": null}',
    '{"files": {}}',
    '{"files": []}',
    *(json.dumps({"files": {"optimizer.pt": 32}, **MADE_FROM, part: None}) for part in ("files", *MADE_FROM)),
    *(json.dumps({"files": {"optimizer.pt": 32}, **MADE_FROM, part: [1]}) for part in ("files", *MADE_FROM)),
    json.dumps({"files": {"optimizer.pt": None}, **MADE_FROM}),
    json.dumps({"files": {"a\0b": 3}, **MADE_FROM}),
    json.dumps({"files": {"a" * 5000: 3}, **MADE_FROM}),
    json.dumps({"files": {"optimizer.pt": 32}, "crc32": None, **MADE_FROM}),
    json.dumps({"files": {"optimizer.pt": 32}, "crc32": {"optimizer.pt": None}, **MADE_FROM}),
    json.dumps({"files": {"optimizer.pt": 32}, "name": None, **MADE_FROM}),
    json.dumps({"files": {"optimizer.pt": 32}, "chat": None, **MADE_FROM}),
    json.dumps({"files": {"optimizer.pt": 32}, "crc32_of_this": 7, **MADE_FROM}),
]


@pytest.mark.parametrize("text", SEALS, ids=range(len(SEALS)))
def test_a_seal_that_this_program_has_not_written_makes_no_checkpoint(text, written, tmp_path):
    before, newest = written(2), written(10)
    (newest / checkpoints.SEAL).write_text(text)
    assert checkpoints.newest_whole(tmp_path)[0] == str(before)
    assert checkpoints.tear(newest)


@pytest.mark.parametrize("part", [None, *MADE_FROM])
def test_nothing_goes_on_from_a_seal_with_null_parts(part, written):
    folder = written(10)
    sealed = {"files": {"optimizer.pt": 32}, **MADE_FROM, part: None} if part else None
    (folder / checkpoints.SEAL).write_text(json.dumps(sealed))
    with pytest.raises(InputError, match="has no readable midalign"):
        checkpoints.require_same(folder, MADE_FROM)


@pytest.mark.parametrize("clock", ["forwards", "backwards", "future"])
def test_rotation_goes_by_step_whatever_the_clock_said(clock, written, left, tmp_path):
    for number, step in enumerate((2, 8, 10, 12)):
        time = {"forwards": 1e9 + number, "backwards": 1e9 - number, "future": 1e10 - 100 * number}[clock]
        os.utime(written(step), (time, time))
    assert left(2, tmp_path / "checkpoint-12") == ["checkpoint-10", "checkpoint-12"]


def test_rotation_leaves_alone_what_this_program_did_not_write(written, left, tmp_path):
    steps = [written(step) for step in (2, 4, 6)]
    others = ["checkpoint-2-keep", "checkpoint-best", "checkpoint-1", "checkpoint-007", "checkpoint-77"]
    for name in others:
        shutil.copytree(steps[0], tmp_path / name)
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "thesis.tex").write_text("mine")
    (tmp_path / "checkpoint-5").write_text("a file")
    (tmp_path / "checkpoint-0").symlink_to(steps[0], target_is_directory=True)
    expected = {*others, "checkpoint-0", "checkpoint-3", "checkpoint-5", "checkpoint-6"}
    assert set(left(1, steps[-1])) == expected


def test_rotation_takes_torn_ones_first_and_keeps_the_best_and_the_newest_whole_one(written, left, tmp_path):
    steps = {step: written(step) for step in (2, 4, 6, 8, 10)}
    for step in (8, 10):
        (steps[step] / "optimizer.pt").unlink()
    assert left(3, steps[6]) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert left(1, steps[6], steps[2]) == ["checkpoint-2", "checkpoint-6"]


def test_rotation_keeps_what_was_just_written_beside_later_steps(written, left):
    assert left(1, [written(step) for step in (9, 12, 6)][-1]) == ["checkpoint-12", "checkpoint-6"]


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_nothing_goes(limit, written, left):
    assert left(limit, [written(step) for step in (2, 4)][-1]) == ["checkpoint-2", "checkpoint-4"]


def test_a_kill_in_the_middle_of_a_deletion_leaves_no_half_of_a_checkpoint(written, tmp_path, monkeypatch):
    steps = [written(step) for step in (2, 4, 6)]

    def killed(folder, **_):
        (next(folder.glob("checkpoint-*")) / "optimizer.pt").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.rotate(tmp_path, 1, steps[-1:], tmp_path / "incomplete")
    assert [checkpoints.tear(folder) for folder in checkpoints.by_step(tmp_path)] == [None, None]


def test_a_checkpoint_done_anew_takes_the_place_of_the_old_one_at_once(written, tmp_path, monkeypatch):
    written(2)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a kill before the old one is deleted
    assert checkpoints.tear(written(2)) is None
    assert (tmp_path / "incomplete" / "replaced" / "optimizer.pt").exists()


def test_a_run_that_will_end_with_its_best_checkpoint_goes_back_to_before_a_lost_one(written, tmp_path):
    before = written(2, load_best_model_at_end=True)
    best = written(4, {"best_model_checkpoint": "elsewhere/checkpoint-4"}, load_best_model_at_end=True)
    newest = written(6, {"best_model_checkpoint": str(best)}, load_best_model_at_end=True)
    assert checkpoints.newest_whole(tmp_path) == (str(newest), [])
    flip_a_bit(best / "adapter_model.safetensors", 3)
    found, torn = checkpoints.newest_whole(tmp_path)
    assert found == str(before) and len(torn) == 2
    assert "checkpoint-6 is not whole, checkpoint-4, the best one before it, is not: adapter_model" in torn[0]
    assert "checkpoint-4, the best one before it" in checkpoints.unfit(str(newest))


def test_a_key_that_a_record_is_too_old_to_have_had_its_default_there():
    before, after = ({"recipe": {"seed": 1}, "data": {}, "step": {}} for _ in range(2))
    after["recipe"] |= {"align_context": "plain", "align_until": None, "align_anchor_weight": 0.0}
    assert checkpoints.differences(before, after) == []
    after["recipe"] |= {"align_until": 50, "align_anchor_weight": 1.0}
    assert checkpoints.differences(before, after) == [
        "align_anchor_weight was 0.0, is 1.0",
        "align_until was None, is 50",
    ]

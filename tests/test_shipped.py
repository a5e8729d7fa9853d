"""What ships with midalign, by name from any folder; `midalign recipes` and `midalign train`."""

import sys
from pathlib import Path

import pytest
import yaml

from midalign import cli, errors
from midalign.errors import InputError
from midalign.models.runs import find_run
from midalign.recipe import read_recipe
from midalign.shipped import is_recipe, recipe_path, shipped_files
from midalign.tasks import find_task
from midalign.training import job
from midalign.training.baseline import read_baseline

ROOT = Path(__file__).parents[1]
TINY = ROOT / "recipes" / "tiny" / "align.yaml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The tests run in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def midalign(monkeypatch, capsys):
    """midalign(*arguments) -> (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["midalign", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("name", ["tiny/align", "tiny/align.yaml", "recipes/tiny/align", "recipes/tiny/align.yaml"])
def test_a_shipped_recipe_is_found_by_its_name(name):
    assert recipe_path(name) == TINY and is_recipe(name)


NO_RECIPES = """tiny tiny/ align tiny/align/ tiny/align.yml /tiny/align tiny/../tiny/align ../recipes/tiny/align
tiny\0align keys recipes/keys.md accelerate_configs/ddp accelerate_configs/ddp.yaml"""


@pytest.mark.parametrize("name", ["", *NO_RECIPES.split()])
def test_no_other_name_stands_for_a_shipped_recipe(name):
    assert recipe_path(name) == Path(name)


def test_what_lies_here_wins_over_what_is_shipped(tmp_path):
    Path("recipes/tiny").mkdir(parents=True)
    own = Path("recipes/tiny/align.yaml")
    own.write_text("seed: 7\n")
    assert recipe_path("recipes/tiny/align.yaml") == own
    assert recipe_path("tiny/align") == TINY
    Path("tiny/align").mkdir(parents=True)  # a model's folder, say
    assert not is_recipe("tiny/align")


def test_the_baseline_of_a_shipped_recipe_is_found_from_any_folder():
    data, training, _ = read_recipe(["tiny/align", "--max_steps", "2"])
    baseline = read_baseline(["tiny/align", "--max_steps", "2"], data, training)
    assert (baseline[1].align_schedule, baseline[1].max_steps) == ("sft", 2)


def test_a_shipped_recipe_can_be_evaluated_by_its_name_once_it_is_trained():
    with pytest.raises(InputError, match="no model to data/tiny-align yet; first run `midalign train tiny/align`"):
        find_run("tiny/align")


def test_train_passes_every_word_on(midalign, monkeypatch):
    given = []
    monkeypatch.setattr(job, "run", given.extend)
    words = ["tiny/align", "--max_steps", "2", "--align_languages", "de", "tr", "-1", "--seed=3", "--version"]
    assert midalign("train", *words)[0] == 0
    assert given == words


ENDINGS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MidalignError)]


@pytest.mark.parametrize("kind", ENDINGS)
def test_train_ends_with_the_exit_code_of_the_error(kind, midalign, monkeypatch):
    def run(argv):
        raise kind("it is so.")

    monkeypatch.setattr(job, "run", run)
    code, _, err = midalign("train", "tiny/align")
    assert code == kind.exit_code and err.strip() == "error: it is so."


def test_a_misspelt_recipe_is_one_sentence(midalign):
    code, _, err = midalign("train", "tiny/algin")
    assert code == 2
    assert err == (
        "error: recipe tiny/algin: No such file or directory; give the path of a YAML file or a name of "
        "`midalign recipes`.\n"
    )


def test_the_help_of_train_lists_the_keys_of_a_recipe(midalign):
    code, out, _ = midalign("train", "--help")
    assert code == 0
    assert "midalign train RECIPE" in out and "  align_layer (0.5)\n" in out


@pytest.mark.parametrize("width", [80, 200])
def test_recipes_names_each_whole_on_any_terminal(midalign, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = midalign("recipes")
    words = out.split()
    for recipe in (ROOT / "recipes").glob("*/*.yaml"):
        assert f"{recipe.parent.name}/{recipe.stem}" in words


def test_recipes_lists_each_with_its_model_task_and_hardware(midalign, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = midalign("recipes")
    assert code == 0
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    assert ["qwen25/align_0.5b", "Qwen/Qwen2.5-0.5B-Instruct", "slots and alignment", "1x 24 GB GPU"] in cells
    assert ["tiny/sft", "demo", "intents", "1 thread of a 2-core CPU"] in cells
    assert all(all(row) for row in cells if row), "a recipe says neither Hardware nor Measured"
    assert "accelerate_configs/zero3" in out and "keys" in out and "examples/loop" in out


def test_recipes_shows_what_is_named(midalign):
    code, out, _ = midalign("recipes", "tiny/sft", "accelerate_configs/ddp", "keys")
    assert code == 0
    files = ("recipes/tiny/sft.yaml", "accelerate_configs/ddp.yaml", "recipes/keys.md")
    assert out == "\n".join((ROOT / file).read_text(encoding="utf-8") for file in files) + "\n"


def copied(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def test_recipes_copies_one_file_a_folder_or_all_to_the_repositorys_paths(midalign, tmp_path):
    assert midalign("recipes", "tiny/align", "accelerate_configs/ddp.yaml", "-o", "one")[0] == 0
    assert copied("one").keys() == {"recipes/tiny/align.yaml", "accelerate_configs/ddp.yaml"}
    assert midalign("recipes", "tiny", "-o", "folder")[0] == 0
    tiny = {f"recipes/tiny/{path.name}" for path in (ROOT / "recipes" / "tiny").iterdir()}
    assert copied("folder").keys() == tiny and {"recipes/tiny/align.yaml", "recipes/tiny/sft_slots.yaml"} < tiny
    code, out, _ = midalign("recipes", "-o", "all")
    assert code == 0
    everything = {path: place.read_bytes() for path, place in shipped_files().items()}
    assert copied("all") == everything and len(everything) > 40
    assert set(out.split()) == {f"all/{path}" for path in everything}


def test_copying_twice_is_fine_and_never_overwrites_a_changed_file(midalign):
    assert midalign("recipes", "tiny", "-o", ".")[0] == midalign("recipes", "tiny", "-o", ".")[0] == 0
    own = Path("recipes/tiny/sft.yaml")
    own.write_text("seed: 7\n")
    Path("recipes/tiny/align.yaml").unlink()
    code, _, err = midalign("recipes", "tiny", "-o", ".")
    assert code == 2 and "recipes/tiny/sft.yaml is there and different" in err
    assert own.read_text() == "seed: 7\n" and not Path("recipes/tiny/align.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny/algin"], "'tiny/algin' is not shipped"),
        (["tiny/align", "../setup.cfg"], "'../setup.cfg' is not shipped"),
        (["tin", "-o", "x"], "'tin' is not shipped"),
        (["tiny/align", "-o", "file"], "file/recipes/tiny/align.yaml cannot be written (Not a directory)"),
    ],
)
def test_what_cannot_be_shown_or_copied_is_one_sentence(arguments, message, midalign):
    Path("file").touch()
    code, _, err = midalign("recipes", *arguments)
    assert code == 2 and err.startswith("error: ") and message in err and err.count("\n") == 1
    assert {path.name for path in Path().iterdir()} == {"file"}


@pytest.mark.parametrize("name", ["mine.py", "tasks/new/mine.py", "a: #b 'é'.py", "no\nline.py"])
def test_a_new_task_is_a_task_and_the_lines_that_use_it_are_a_recipes(name, midalign):
    code, out, _ = midalign("new-task", name)
    assert code == 0
    assert yaml.safe_load(out) == {"task": name, "task_data": "demo"}
    assert len(Path(name).read_text().splitlines()) <= 30
    row = {"utt": "wake me", "intent": "alarm_set"}
    assert find_task(name).gold(row) == "alarm set" and find_task(name).counts(row, "alarm set\n")["accuracy"] == (1, 1)


def test_a_recipe_with_a_new_task_and_its_lines_can_be_trained(midalign, recipe):
    written = recipe()
    lines = written.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("task_data:")]
    written.write_text("".join(kept) + midalign("new-task", "mine.py")[1])
    code, out, _ = midalign("preview", written)
    assert code == 0
    assert "Every row and pair can be used." in out and "Name the intent of the utterance" in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("there.py", "there.py is there; move it away or name another file."),
        ("link.py", "link.py is there; "),
        ("there.py/mine.py", "there.py is there; "),
        ("mine", "mine does not end in .py"),
        ("mine.PY", "mine.PY does not end in .py"),
        ("", ". does not end in .py"),
        ("x" * 300 + ".py", "x.py cannot be written (File name too long)"),
    ],
)
def test_a_new_task_is_written_over_nothing_and_only_where_a_recipe_can_name_it(name, message, midalign):
    Path("there.py").write_text("mine = 1\n")
    Path("link.py").symlink_to("nowhere")
    code, out, err = midalign("new-task", name)
    assert code == 2 and out == "" and err.startswith("error: ") and message in err and err.count("\n") == 1
    assert {path.name for path in Path().iterdir()} == {"there.py", "link.py"}
    assert Path("there.py").read_text() == "mine = 1\n"

"""`midalign <verb>` from its command line."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from midalign import __version__, cli
from midalign.data import templates
from midalign.demo import corpus
from midalign.evaluation import answers as answers_module
from midalign.evaluation.generation import generate_batches
from midalign.models.runs import find_run
from midalign.tasks.slots import massive

ROWS = corpus.rows("de-DE", "test")
GOLD = [massive.target(row["annot_utt"]) for row in ROWS]


@pytest.fixture
def write(tmp_path):
    """write(name, lines) -> the path of a file; objects become JSON."""

    def write(name, lines):
        path = tmp_path / name
        lines = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def with_ids(answers):
    return [{"id": row["id"], "prediction": answer} for row, answer in zip(ROWS, answers, strict=False)]


def figures(done):
    code, out, err = done
    assert code == 0, err
    return json.loads(out)


def test_perfect_answers_score_1_from_every_kind_of_file(midalign, write):
    samples = [{"doc": row, "filtered_resps": [answer]} for row, answer in zip(ROWS, GOLD, strict=True)]
    files = [
        write("plain.txt", GOLD),
        write("shuffled.jsonl", with_ids(GOLD)[::-1]),
        write("ordered.jsonl", [{"prediction": answer} for answer in GOLD]),
        write("samples_massive_slots.jsonl", samples),
    ]
    for file in files:
        report = figures(midalign("score", file, "--locale", "de", "--data", "demo", "--json"))
        assert (report["f1"], report["exact_match"], report["rows"]) == (1, 1, len(ROWS))
        assert report["f1_ci"] is None  # resampling cannot see the rows that would have been wrong


def test_a_part_of_the_rows_is_scored_alone(midalign, write):
    file = write("part.jsonl", with_ids(GOLD[:7]))
    assert figures(midalign("score", file, "--locale", "de-DE", "--data", "demo", "--json"))["rows"] == 7


def test_against_another_file_the_gain_and_its_p_value_are_given(midalign, write):
    good, bad = write("good.jsonl", with_ids(GOLD)), write("bad.jsonl", with_ids(["None"] * len(ROWS)))
    report = figures(midalign("score", good, "--locale", "de", "--data", "demo", "--against", bad, "--json"))
    assert report["gain"] == 1 - report["f1_against"]
    assert (report["p"], report["p_method"]) == (1 / 10_000, "9,999 draws")
    half = write("half.jsonl", with_ids([*GOLD[: len(GOLD) // 2], *["None"] * (len(GOLD) - len(GOLD) // 2)]))
    report = figures(midalign("score", good, "--locale", "de", "--data", "demo", "--against", half, "--json"))
    low, high = report["gain_ci"]
    assert 0 < low < report["gain"] < high < 1
    same = figures(midalign("score", good, "--locale", "de", "--data", "demo", "--against", good, "--json"))
    assert (same["gain"], same["p"], same["p_method"], same["gain_ci"]) == (0, 1, "exact", None)


def test_one_row_of_difference_is_no_evidence(midalign, write):
    slotted = next(i for i, gold in enumerate(GOLD) if gold != "None")
    files = (
        write("good.jsonl", with_ids(GOLD)[slotted:][:1]),
        write("bad.jsonl", with_ids(["None"] * len(ROWS))[slotted:][:1]),
    )
    options = ["--locale", "de", "--data", "demo", "--against", files[1]]
    report = figures(midalign("score", files[0], *options, "--json"))
    assert (report["gain"], report["p"], report["f1_ci"]) == (1, 1, None)
    _, out, _ = midalign("score", files[0], *options)
    assert "100.00 % (no interval: under 30 rows)" in out
    assert "1.0000 (paired permutation test over rows, exact)" in out


def test_the_table_is_in_percent_with_an_interval(midalign, write):
    options = ["--locale", "de", "--data", "demo"]
    code, out, _ = midalign("score", write("plain.txt", GOLD), *options)
    assert code == 0
    assert "100.00 % (no interval: one value in every resample)" in out
    code, out, _ = midalign("score", write("half.txt", [*GOLD[:20], *["None"] * (len(GOLD) - 20)]), *options)
    assert re.search(r"\d % \(95 % interval over rows \d+\.\d\d to \d+\.\d\d\)", out)


def test_the_authors_figures_take_a_file_of_another_length(midalign, write):
    file = write("short.txt", GOLD[:5])
    report = figures(midalign("score", file, "--locale", "de", "--data", "demo", "--compat", "reference", "--json"))
    assert 0 < report["recall"] < 0.1
    assert "f1_stderr" in report


@pytest.mark.parametrize(
    ("name", "lines", "arguments", "message"),
    [
        ("p.txt", ["None"], [], "has 1 answers for"),
        ("p.json", with_ids(["a"]) * 2, [], "answers 1 rows twice"),
        ("p.jsonl", [{**ROWS[0], "utt": "x", "prediction": ""}], [], "with utt 'x', but the row has"),
        ("p.jsonl", [{"doc": {**ROWS[0], "locale": "en-US"}, "filtered_resps": [""]}], [], "with locale 'en-US'"),
        ("p.jsonl", [{"filtered_resps": ["a"]}], [], 'line 1 has no text in "prediction"'),
        ("p.jsonl", [{"doc": ROWS[0], "filtered_resps": []}], [], 'line 1 has no text in "prediction"'),
        ("p.jsonl", [{"doc": ROWS[0], "filtered_resps": "time: x"}], [], 'line 1 has no text in "prediction"'),
        ("p.jsonl", ['{"id": ' + "1" * 5000 + "}"], [], "line 1 is not JSON"),
        ("p.jsonl", ["[" * 10_000], [], "line 1 is not JSON"),
        ("p.jsonl", ["{"], [], "line 1 is not JSON"),
        ("p.jsonl", ["[]"], [], "has 0 answers for"),
        ("p.jsonl", [{"id": "x", "prediction": ""}], [], "no row of de-DE has id x"),
        ("p.jsonl", [{"id": "1", "prediction": ""}, {"prediction": ""}], [], '1 of 2 lines have no "id"'),
        ("p.jsonl", with_ids(["a"]) * 2, [], "answers 1 rows twice"),
        ("p.txt", GOLD, ["--against", "nowhere.txt"], "nowhere.txt: No such file"),
        ("p.txt", GOLD, ["--against", "p.txt", "--compat", "reference"], "leave --compat out"),
        ("p.txt", GOLD, ["--locale", "zh"], "could be zh-CN or zh-TW"),
        ("p.txt", GOLD, ["--locale", "xx"], "xx is not in MASSIVE"),
        ("p.txt", GOLD, ["--locale", "sw"], "sw-KE is not in the demo corpus"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(midalign, write, name, lines, arguments, message):
    code, _, err = midalign("score", write(name, lines), "--locale", "de", "--data", "demo", *arguments)
    assert code == 2
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


LOADED = """
import sys
from midalign import cli
libraries = {"torch", "trl", "transformers"}
more = {"datasets", "pandas", "numpy", "sklearn"}
for verb, heavy in (
    (["--help"], libraries | more),
    (["score", "--help"], libraries | more),
    (["score", sys.argv[1], "--locale", "de", "--data", "demo"], libraries),
):
    sys.argv = ["midalign", *verb]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_help_loads_nothing_heavy_and_score_no_torch(write):
    """What --help costs are its imports."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, write("plain.txt", GOLD)],
        env={"PYTHONPATH": str(Path(cli.__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.stderr.strip() == ""
    assert "100.00 %" in done.stdout


def test_the_version_is_that_of_the_package(midalign):
    assert midalign("--version")[:2] == (0, f"midalign {__version__}\n")


def test_verbs_are_completed(midalign, monkeypatch):
    monkeypatch.setenv("_MIDALIGN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "midalign pr")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert midalign()[1].split() == ["preview"]


def parrot_that_says(parrot, folder, **answers):
    """A copy of the parrot whose answers to some last words are other words it knows."""
    tokenizer = AutoTokenizer.from_pretrained(parrot)
    model = AutoModelForCausalLM.from_pretrained(parrot)
    with torch.no_grad():
        for last, word in answers.items():
            column = model.lm_head.weight[:, tokenizer.convert_tokens_to_ids(last)]
            column.zero_()
            column[tokenizer.convert_tokens_to_ids(word)] = 1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# The parrot answers "time: nine" after "please", "date: monday" after "today", "None" after "music".
ANNOTATIONS = {
    "en-US": ["wake me at [time : nine] please", "stop the music"],
    "tr-TR": ["uyan [time : nine] please", "[date : monday] today", "[person : anne] please", "music"],
}


@pytest.fixture
def two_models(parrot, write_rows, tmp_path):
    """(arguments naming data and output, a model, one that never says a date)."""
    silent = parrot_that_says(parrot, tmp_path / "silent", today="<end>")
    data = write_rows(ANNOTATIONS)
    options = ["--data", data, "--locale", "en,tr", "--output", tmp_path / "out", "--batch-size", "2"]
    return options, parrot, silent


def result(folder):
    return json.loads((folder / "scores.json").read_text(encoding="utf-8"))


def test_evaluate_gives_the_f1_and_gains_worked_out_by_hand(midalign, two_models, tmp_path):
    options, parrot, silent = two_models
    code, out, err = midalign("evaluate", silent, parrot, *options, "--supervised", "en-US", "--aligned", "tr")
    assert code == 0, err
    scores = result(tmp_path / "out")
    assert scores["groups"] == {"en-US": "supervised", "tr-TR": "aligned"}
    assert scores["baseline"] == "silent"
    turkish = {name: run["languages"]["tr-TR"] for name, run in scores["runs"].items()}
    assert turkish["silent"]["f1"] == pytest.approx(2 / (2 + 1 + 2))  # 1 hit, 1 spurious, 2 missed
    assert turkish[parrot.name]["f1"] == pytest.approx(4 / (4 + 1 + 1))
    assert turkish[parrot.name]["gain"] == pytest.approx(4 / 6 - 2 / 5)
    assert scores["runs"]["silent"]["languages"]["en-US"]["f1"] == 1
    assert "66.7" in out and "+26.7" in out
    assert scores["record"]["data"]["rows"] == {"en-US": 2, "tr-TR": 4}
    assert len(scores["record"]["models"]["silent"]["files"]) == 64


def test_an_adapter_is_compared_with_the_model_below_it(midalign, two_models, tmp_path):
    options, parrot, _ = two_models
    config = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(parrot), config).save_pretrained(tmp_path / "adapter")
    code, _, err = midalign("evaluate", tmp_path / "adapter", *options)
    assert code == 0, err
    scores = result(tmp_path / "out")
    assert list(scores["runs"]) == [parrot.name, "adapter"]
    assert scores["baseline"] == parrot.name
    assert scores["groups"] == {"en-US": "supervised", "tr-TR": "aligned"}  # as in the paper
    assert scores["runs"]["adapter"]["languages"]["tr-TR"]["gain"] == 0  # an untrained adapter


def test_the_answers_of_a_base_serve_every_adapter_on_it(midalign, two_models, tmp_path):
    options, parrot, _ = two_models
    for name, rank in (("one", 2), ("two", 4)):
        config = LoraConfig(r=rank, target_modules=["q_proj"], task_type="CAUSAL_LM")
        get_peft_model(AutoModelForCausalLM.from_pretrained(parrot), config).save_pretrained(tmp_path / name)
        AutoTokenizer.from_pretrained(parrot).save_pretrained(tmp_path / name)
    assert midalign("evaluate", tmp_path / "one", *options)[0] == 0
    code, _, err = midalign("evaluate", tmp_path / "one", tmp_path / "two", *options)
    assert code == 0, err
    assert list(result(tmp_path / "out")["runs"]) == [parrot.name, "one", "two"]


def test_a_cut_evaluation_goes_on_and_ends_like_one_that_was_not(midalign, two_models, tmp_path, monkeypatch):
    options, parrot, _ = two_models
    whole = [*options[:-3], tmp_path / "whole", *options[-2:]]
    assert midalign("evaluate", parrot, *whole)[0] == 0

    def cut(*arguments):
        for batch in generate_batches(*arguments):
            yield batch
            cut.answered += len(batch[0])
            if cut.answered == 4:  # two English rows, two of four Turkish ones
                raise KeyboardInterrupt

    cut.answered = 0
    with monkeypatch.context() as patch:
        patch.setattr(answers_module, "generate_batches", cut)
        assert midalign("evaluate", parrot, *options)[0] != 0
    kept = tmp_path / "out" / parrot.name / "tr-TR.jsonl"
    assert len(kept.read_text().splitlines()) == 2
    with kept.open("a") as file:
        file.write('{"id": "7", "utt": "torn')
    assert midalign("evaluate", parrot, *options)[0] == 0
    assert result(tmp_path / "out") == result(tmp_path / "whole")
    assert len(kept.read_text().splitlines()) == 4

    monkeypatch.setattr(answers_module, "generate_batches", None)  # everything is there: nothing is generated
    assert midalign("evaluate", parrot, *options)[0] == 0


def test_answers_of_other_weights_are_not_taken_for_this_models(midalign, two_models):
    options, parrot, silent = two_models
    assert midalign("evaluate", silent, *options)[0] == 0
    parrot_that_says(parrot, silent, today="None")
    code, _, err = midalign("evaluate", silent, *options)
    assert code == 2
    assert "holds answers of another model (other files)" in err


def test_answers_to_other_prompts_are_not_taken_for_these(midalign, two_models):
    options, _, silent = two_models
    assert midalign("evaluate", silent, *options)[0] == 0
    (silent / "chat_template.jinja").write_text("Now {% for m in messages %}{{ m.content }} {% endfor %}")
    assert "holds answers of another model" in midalign("evaluate", silent, *options)[2]


def test_a_folder_without_answers_is_free_for_another_model(midalign, two_models, tmp_path):
    options, parrot, _ = two_models
    folder = tmp_path / "out" / parrot.name
    folder.mkdir(parents=True)
    (folder / "model.json").write_text('{"model": "another", "max_new_tokens": 3}')
    assert midalign("evaluate", parrot, *options)[0] == 0


def test_answers_to_other_data_are_not_taken_for_these_rows(midalign, two_models):
    options, parrot, _ = two_models
    assert midalign("evaluate", parrot, *options)[0] == 0
    (file,) = options[1].glob("en-US/test.jsonl")
    file.write_text(file.read_text().replace("stop", "start"), encoding="utf-8")
    code, _, err = midalign("evaluate", parrot, *options)
    assert code == 2
    assert "answers other data" in err


@pytest.mark.parametrize("name", ["report.html", "Report.HTML", "report.md", "scores.json"])
def test_a_run_named_like_a_file_of_the_report_is_refused_before_it_answers(midalign, parrot, tmp_path, name):
    shutil.copytree(parrot, tmp_path / name)
    output = tmp_path / "out"
    code, _, err = midalign("evaluate", tmp_path / name, "--data", "demo", "--locale", "en", "--output", output)
    assert code == 2
    assert f"{output / name} holds the report" in err and f"rename the folder {name}" in err
    assert not output.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("report.md", "# my thesis"), ("report.html", ""), ("scores.json", "[1]"), ("scores.json", '{"runs": 1}')],
)
def test_files_of_somebody_with_the_names_of_a_report_are_kept(midalign, parrot, tmp_path, name, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(content)
    code, _, err = midalign("evaluate", parrot, "--data", "demo", "--locale", "en", "--output", tmp_path / "out")
    assert code == 2 and f"{name} would be written over" in err
    assert (tmp_path / "out" / name).read_text() == content and len(list((tmp_path / "out").iterdir())) == 1


def test_a_report_that_cannot_be_written_is_one_sentence_and_keeps_the_answers(midalign, two_models, tmp_path):
    options, parrot, _ = two_models
    (tmp_path / "out" / "report.html.part").mkdir(parents=True)
    code, _, err = midalign("evaluate", parrot, *options)
    assert code == 2
    assert "report.html: Is a directory" in err.splitlines()[-1] and "the answers are kept" in err
    assert (tmp_path / "out" / parrot.name / "tr-TR.jsonl").is_file()


def test_evaluate_takes_data_locales_and_groups_from_the_recipe(midalign, parrot, tmp_path, write):
    config = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(parrot), config).save_pretrained(tmp_path / "adapter")
    recipe = write(
        "align.yaml",
        [
            f"model_name_or_path: {parrot}",
            f"output_dir: {tmp_path / 'adapter'}",
            "use_peft: true",
            "task_data: demo",
            "task_languages: [en-US]",
            "align_data: [demo]",
            "align_languages: [de]",
            "score_languages: [en-US, de-DE, el-GR]",
        ],
    )
    code, _, err = midalign("evaluate", recipe, "--rows", 3, "--no-base", "--output", tmp_path / "out")
    assert code == 0, err
    scores = result(tmp_path / "out")
    assert scores["groups"] == {"en-US": "supervised", "de-DE": "aligned", "el-GR": "never aligned"}
    assert scores["record"]["data"]["rows"] == {"en-US": 3, "de-DE": 3, "el-GR": 3}


def test_what_cannot_be_evaluated_is_one_sentence(midalign, parrot, tmp_path, write):
    lines = [f"model_name_or_path: {parrot}", f"output_dir: {tmp_path / 'new'}", "task_data: demo"]
    untrained = write("new.yaml", [*lines, "align_schedule: sft"])
    other_task = write("chat.yaml", [lines[0], lines[2], f"output_dir: {tmp_path / 'chat'}", "align_schedule: sft"])
    (tmp_path / "chat").mkdir()
    shutil.copy(parrot / "config.json", tmp_path / "chat")
    (tmp_path / "chat" / "run.json").write_text(json.dumps({"tasks": [{"name": "chat"}]}))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "adapter_config.json").write_text("{}")
    (pickled / "adapter_model.bin").write_bytes(b"")
    other = tmp_path / "other" / parrot.name
    shutil.copytree(parrot, other)
    broken = {}
    for name, config in {
        "list": [],
        "null": {"base_model_name_or_path": None, "peft_type": "LORA"},
        "kind": {"base_model_name_or_path": str(parrot), "peft_type": "PREFIX_TUNING"},
        "torn": {"base_model_name_or_path": str(parrot), "peft_type": "LORA", "target_modules": ["q_proj"]},
    }.items():
        broken[name] = tmp_path / name
        broken[name].mkdir()
        (broken[name] / "adapter_config.json").write_text(json.dumps(config))
        (broken[name] / "adapter_model.safetensors").write_bytes(b"torn")
    for arguments, message in [
        ([untrained], "has written no model to"),
        ([other_task], "says task slots, but the run in"),
        ([pickled], "only safetensors are loaded"),
        ([broken["list"]], "is not what PEFT writes"),
        ([broken["null"]], "has no base_model_name_or_path"),
        ([broken["kind"]], "is a PREFIX_TUNING adapter"),
        ([broken["torn"], "--rows", 1], "does not fit"),
        ([parrot, "--supervised", "xx"], "xx is not in MASSIVE"),
        ([tmp_path / "nowhere"], "nowhere is no folder here"),
        ([tmp_path / "other"], f"has neither adapter_config.json nor config.json, but {other} has"),
        ([parrot, other], "2 runs are called"),
        ([parrot, "--locale", "xx"], "xx is not in MASSIVE"),
    ]:
        options = ["--data", "demo", "--locale", "en", "--output", tmp_path / "out"]
        code, _, err = midalign("evaluate", *arguments, *options)
        assert code == 2, (arguments, err)
        assert message in err.splitlines()[-1], err


def test_rows_that_a_recipe_leaves_out_are_left_out_of_its_evaluation(midalign, parrot, tmp_path, write):
    rows = [{"id": str(i), "utt": "lights", "annot_utt": annotated} for i, annotated in enumerate(("lights", "["))]
    rows = [row | {"locale": "en-US", "partition": "test"} for row in rows]
    (tmp_path / "data" / "en-US").mkdir(parents=True)
    (tmp_path / "data" / "en-US" / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = [f"model_name_or_path: {parrot}", f"output_dir: {parrot}", f"task_data: {tmp_path / 'data'}"]
    for skip, expected in ((["on_bad_row: skip"], 0), ([], 2)):
        recipe = write("skip.yaml", [*lines, "align_schedule: sft", *skip])
        code, _, err = midalign("evaluate", recipe, "--locale", "en-US", "--output", tmp_path / "out")
        assert code == expected, err
    assert "set on_bad_row: skip" in err
    assert result(tmp_path / "out")["runs"][parrot.name]["languages"]["en-US"]["rows"] == 1


def test_two_adapters_share_one_base_whatever_its_path_looks_like(midalign, two_models, tmp_path, monkeypatch):
    options, parrot, _ = two_models
    for name, path in (("one", str(parrot)), ("two", f"{parrot}/../{parrot.name}")):
        config = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
        adapter = get_peft_model(AutoModelForCausalLM.from_pretrained(parrot), config)
        adapter.peft_config["default"].base_model_name_or_path = path
        adapter.save_pretrained(tmp_path / name)
    monkeypatch.chdir(tmp_path / "two")
    code, _, err = midalign("evaluate", tmp_path / "one", ".", *options)
    assert code == 0, err
    scores = result(tmp_path / "out")
    assert list(scores["runs"]) == [parrot.name, "one", "two"]
    assert scores["baseline"] == "one"


@pytest.fixture
def relative(parrot, tmp_path):
    """relative(name of the base) -> an adapter in tmp_path/project/data, the base beside it as data/base."""
    project = tmp_path / "project"
    shutil.copytree(parrot, project / "data" / "base")

    def make(base):
        adapter = get_peft_model(
            AutoModelForCausalLM.from_pretrained(parrot), LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
        )
        adapter.peft_config["default"].base_model_name_or_path = base
        adapter.save_pretrained(project / "data" / "adapter")
        return project / "data" / "adapter"

    return make


@pytest.mark.parametrize("base", ["data/base", "./data/base", "base", "../data/base"])
@pytest.mark.parametrize("here", [".", "project", "project/data/adapter"])
def test_a_base_that_was_named_from_another_folder_is_found(relative, base, here, tmp_path, monkeypatch):
    adapter = relative(base)
    monkeypatch.chdir(tmp_path / here)
    assert Path(find_run(str(adapter)).path).resolve() == tmp_path / "project" / "data" / "base"


def test_a_base_that_is_nowhere_is_one_sentence_and_not_asked_of_the_hub(relative, midalign, tmp_path):
    code, _, err = midalign("evaluate", relative("old/data/base"), "--data", "demo", "--output", tmp_path / "out")
    assert code == 2
    assert "has base_model_name_or_path old/data/base, which is no folder, neither from here nor" in err


def test_a_hub_name_below_an_adapter_stays_one(relative):
    assert find_run(str(relative("Qwen/Qwen2.5-0.5B"))).path == "Qwen/Qwen2.5-0.5B"


DATED = "{{ strftime_now('%d %b %Y') }} {% for m in messages %}{{ m.content }} {% endfor %}"


def test_an_evaluation_keeps_the_date_of_its_prompts(midalign, two_models, tmp_path, monkeypatch):
    options, _, dated = two_models
    (dated / "chat_template.jinja").write_text(DATED)
    record = tmp_path / "out" / "silent" / "model.json"
    for day in ("2026-03-01", "2026-03-02"):  # on the second day, the answers of the first
        monkeypatch.setattr(templates, "today", lambda day=day: day)
        assert midalign("evaluate", dated, *options)[0] == 0
        assert json.loads(record.read_text())["chat"]["date"] == "2026-03-01"
    other = [*options[:-3], tmp_path / "other", *options[-2:]]
    assert midalign("evaluate", dated, *other)[0] == 0
    assert json.loads((tmp_path / "other" / "silent" / "model.json").read_text())["chat"]["date"] == "2026-03-02"


def test_the_date_of_training_is_that_of_the_model_below_too(midalign, two_models, tmp_path, monkeypatch):
    options, _, dated = two_models
    (dated / "chat_template.jinja").write_text(DATED)
    tokenizer = AutoTokenizer.from_pretrained(dated)
    templates.fit(tokenizer, day="2026-01-31")
    config = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(dated), config).save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    code, _, err = midalign("evaluate", dated, tmp_path / "adapter", *options)
    assert code == 0, err
    models = result(tmp_path / "out")["record"]["models"]
    assert {name: model["chat"]["date"] for name, model in models.items()} == dict.fromkeys(
        ("silent", "adapter"), "2026-01-31"
    )


def test_link_tasks_says_where_the_links_are_and_takes_them_away(midalign, tmp_path, monkeypatch):
    (tmp_path / "lm_eval" / "tasks").mkdir(parents=True)
    (tmp_path / "lm_eval" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lm_eval", raising=False)
    folder = tmp_path / "lm_eval" / "tasks" / "massive_slots"
    assert f"{folder} shows massive_slots to lm_eval" in midalign("link-tasks")[1]
    assert (folder / "_massive_slots.yaml").is_file()
    assert f"{folder} is gone" in midalign("link-tasks", "--remove")[1]
    assert not folder.exists()


def test_bench_prints_both_rates_their_ratio_and_that_the_answers_are_equal(midalign, two_models):
    _, parrot, _ = two_models
    code, out, err = midalign("bench", parrot, "--data", "demo", "--locale", "en,de", "--rows", 6, "--batch-size", 4)
    assert code == 0, err
    assert "12 rows" in out and "100.0 % of the answers are equal" in out
    ours, theirs, ratio = (float(re.search(rf"{name} *│ *([\d.]+)", out)[1]) for name in ("evaluate", "hf", "ratio"))
    assert ratio == pytest.approx(ours / theirs, abs=0.02)

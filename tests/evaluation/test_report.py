"""The Markdown table and the HTML page."""

import io
import json
import re
import unicodedata

import pytest
from browser import Reader, asked_and_said, hidden, in_chromium
from rich.console import Console

from midalign.evaluation.comparison import compare
from midalign.evaluation.counts import counted_each
from midalign.evaluation.report import html as page
from midalign.evaluation.report import markdown, table, told, write_report
from midalign.tasks.slots.task import Slots

TASK = Slots("slots")

NASTY = '<script>alert(1)</script> & "x" \ud800'
ROWS = {
    locale: [{"id": "0", "locale": locale, "utt": NASTY, "annot_utt": f"[time : {words}]"}]
    for locale, words in {"en-US": "nine", "tr-TR": "dokuz", "ar-SA": "تسعة"}.items()
}
GROUPS = {"en-US": "supervised", "tr-TR": "aligned", "ar-SA": "never aligned"}
ANSWERS = {
    "sft": {"en-US": ["time: nine"], "tr-TR": [NASTY], "ar-SA": ["time: x"]},
    "align|<b>": {"en-US": ["time: nine"], "tr-TR": ["time: dokuz"], "ar-SA": [""]},
}


@pytest.fixture
def folder(tmp_path):
    write_report(TASK, tmp_path, ROWS, ANSWERS, GROUPS, "sft", {"data": {"source": "</pre><script>"}})
    return tmp_path


def test_the_table_has_languages_groups_gains_and_p_values(folder):
    table = (folder / "report.md").read_text()
    assert "| tr-TR | 1 | sft | 0.0 (no interval) | 0.0 |  |  |  |  |" in table
    assert "| align\\|&lt;b&gt; | 100.0 (no interval) | 100.0 | +100.0 (no interval) | 1.000 | 1.000 | 1.000 |" in table
    assert "| aligned, mean of 1 |  | sft |" in table
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1  # a bar in a name makes no column
    assert len(lines) == 2 + 6 * 2


def test_scores_are_json_with_the_versions(folder):
    result = json.loads((folder / "scores.json").read_text())
    assert result["runs"]["sft"]["languages"]["en-US"]["f1"] == 1
    assert result["record"]["versions"]["transformers"]
    assert markdown(result) == (folder / "report.md").read_text()


@pytest.fixture
def read(folder):
    reader = Reader((folder / "report.html").read_text(encoding="utf-8"))
    assert reader.open == []  # every tag is closed, in order
    return reader


def test_text_of_models_and_data_is_escaped(read):
    assert "script" not in {tag for tag, _ in read.tags}
    assert "b" not in {tag for tag, _ in read.tags}
    assert "<script>alert(1)</script>" in read.text


def test_the_page_has_no_control_characters_but_the_joiners_of_its_languages(tmp_path):
    name, row = "a\n\x1b[31m\x9b<b>\x7f", ROWS["ar-SA"][0] | {"utt": "\x07می\u200cخواهم\x00"}
    answers, record = {name: {"ar-SA": ["\x1b"]}}, {"data": {"source": "\x1bdemo"}}
    write_report(TASK, tmp_path, {"ar-SA": [row]}, answers, {"ar-SA": "aligned"}, name, record)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not [c for c in text if unicodedata.category(c) == "Cc" and c != "\n"]
    assert "\\x1b[31m\\x9b&lt;b&gt;\\x7f" in text and "\\x07می\u200cخواهم\\x00" in text


def test_the_page_loads_nothing_and_runs_nothing(read):
    for tag, attributes in read.tags:
        assert not {"src", "onclick", "onload"} & attributes.keys(), tag
        assert attributes.get("href", "#").startswith("#")
    policies = [attributes["content"] for _, attributes in read.tags if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_a_reader_without_sight_or_mouse_finds_every_figure(read):
    tags = [tag for tag, _ in read.tags]
    assert tags.count("h1") == 1 and tags.count("main") == 1
    assert all("scope" in attributes for tag, attributes in read.tags if tag == "th")
    assert all(attributes["aria-hidden"] == "true" for _, attributes in read.tags if attributes.get("class") == "track")
    assert all("tabindex" in attributes for _, attributes in read.tags if attributes.get("class") == "scroll")
    roles = {"table": "table", "thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "td": "cell"}
    assert all(attributes.get("role") == roles[tag] for tag, attributes in read.tags if tag in roles)
    assert "0.0 (no interval)" in " ".join(read.text.split())
    examples = [attributes for tag, attributes in read.tags if tag == "dd"]
    assert all(attributes["dir"] == "auto" for attributes in examples)
    assert {attributes["lang"] for attributes in examples} == {"tr-TR", "ar-SA"}


def test_a_single_run_has_no_gains_and_still_a_page(tmp_path):
    result = write_report(TASK, tmp_path, ROWS, {"base": ANSWERS["sft"]}, GROUPS, "base", {"data": {"source": "demo"}})
    table = markdown(result)
    assert table.splitlines()[0] == "| language | rows | run | slot F1 (95 %) | slot found |"
    text = (tmp_path / "report.html").read_text()
    for said in (table, text):
        assert "gain" not in said.split("</style>")[-1].lower() and "permutation" not in said


def test_the_demo_corpus_is_not_called_massive(tmp_path):
    write_report(TASK, tmp_path, ROWS, ANSWERS, GROUPS, "sft", {"data": {"source": "demo"}})
    text = (tmp_path / "report.html").read_text()
    assert "test rows of the embedded demo corpus" in text and "MASSIVE" not in text
    write_report(TASK, tmp_path, ROWS, ANSWERS, GROUPS, "sft", {"data": {"source": "my/rows"}})
    assert "test rows of my/rows" in (tmp_path / "report.html").read_text()


def test_the_report_says_what_its_intervals_and_p_values_are_about(folder, read):
    for said in ((folder / "report.md").read_text(), " ".join(read.text.split())):
        assert "They say nothing about training: another seed alone can move a mean by points" in said
        assert "Intervals are over utterances, one run each." in said
        assert "paired permutation test over utterances" in said
        assert "p corrected for the number of languages" in said
        assert "no interval: under 30 rows in a language" in said


def test_with_enough_rows_there_are_intervals_and_no_word_about_their_absence(tmp_path):
    rows = {"tr-TR": [{"id": str(i), "locale": "tr-TR", "utt": "x", "annot_utt": "[time : x]"} for i in range(40)]}
    answers = {"a": {"tr-TR": ["time: x", "time: y"] * 20}}
    result = write_report(TASK, tmp_path, rows, answers, {"tr-TR": "aligned"}, "a", {"data": {"source": "demo"}})
    table = markdown(result)
    assert re.search(r"\| tr-TR \| 40 \| a \| 50\.0 \(3\d\.\d to 6\d\.\d\) \| 100\.0 \|", table)
    assert "no interval" not in table and "no interval" not in (tmp_path / "report.html").read_text()


def test_a_narrow_console_shows_every_letter_and_figure():
    name = "a-run-with-a-name-of-some-length-[bold]1"
    answers = {"sft": ANSWERS["sft"], name: ANSWERS["align|<b>"]}
    runs = compare(TASK, counted_each(TASK, ROWS, answers), GROUPS, "sft")
    console = Console(width=80, file=io.StringIO())
    console.print(table({"task": told(TASK), "runs": runs, "groups": GROUPS, "baseline": "sft"}))
    shown = console.file.getvalue()
    assert "…" not in shown and max(map(len, shown.splitlines())) <= 80
    folded = "".join(line.split("  ")[0] for line in shown.splitlines())
    assert name in folded.replace(" ", "") and "tr-TR, 1 rows" in shown
    assert "+100.0" in shown and "1.000" in shown


@pytest.mark.parametrize("name", ["two\nlines", "[click](javascript:alert)", "a | b", "`x`", "**x**", "\x1b[31mred"])
def test_any_name_of_a_run_stays_the_text_of_its_cell(tmp_path, name):
    answers = {"sft": ANSWERS["sft"], name: ANSWERS["sft"]}
    result = write_report(TASK, tmp_path, ROWS, answers, GROUPS, "sft", {"data": {"source": "demo"}})
    table = markdown(result)
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in lines} == {10} and len(lines) == 2 + 6 * 2
    assert "\x1b" not in table and not re.search(r"(?<!\\)[\[\]`]", table)


@pytest.mark.slow
@in_chromium
@pytest.mark.parametrize("width", [390, 800, 1200])
def test_nothing_is_cut_off_on_a_phone_or_a_desk(tmp_path, width):
    rows = {"tr-TR": [{"id": str(i), "locale": "tr-TR", "utt": "x" * 90, "annot_utt": "[time : x]"} for i in range(40)]}
    answers = {
        "a-baseline-with-a-rather-long-name": {"tr-TR": ["time: x", "time: y"] * 20},
        "a-run-with-a-rather-long-name-too": {"tr-TR": ["time: " + "y" * 90, "time: x", "time: x", "None"] * 10},
    }
    data = {"data": {"source": "a/folder/with/rows"}}
    of_runs = counted_each(TASK, rows, answers)
    every = [run._replace(name=f"{run.name}-{i}", seed=i) for [run] in of_runs.values() for i in range(5)]
    of_arms = {"a-baseline-with-a-rather-long-name": every[:5], "a-run-with-a-rather-long-name-too": every[5:]}
    for arms in (of_runs, of_arms):
        groups, baseline = {"tr-TR": "aligned"}, "a-baseline-with-a-rather-long-name"
        write_report(TASK, tmp_path, rows, answers, groups, baseline, data, arms)
        assert hidden(tmp_path / "report.html", width) == ""


@pytest.mark.slow
@in_chromium
def test_a_browser_lays_the_page_out_without_a_word_on_its_console(folder, tmp_path):
    picture = tmp_path / "report.png"
    asked, said = asked_and_said((folder / "report.html").read_text(encoding="utf-8"), picture)
    assert asked == ["http://page.example/page.html"] and said == []
    assert picture.stat().st_size > 10_000


def test_page_and_table_come_from_the_scores_file_alone(folder):
    again = page(json.loads((folder / "scores.json").read_text()))
    assert again.encode("utf-8", "backslashreplace") == (folder / "report.html").read_bytes()

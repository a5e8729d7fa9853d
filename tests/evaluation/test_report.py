"""The Markdown table and the HTML page."""

import html.parser
import json
import shutil
import subprocess

import pytest

from midalign.evaluation.report import html as page
from midalign.evaluation.report import markdown, write_report

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
    write_report(tmp_path, ROWS, ANSWERS, GROUPS, "sft", {"data": {"source": "</pre><script>"}})
    return tmp_path


def test_the_table_has_languages_groups_gains_and_p_values(folder):
    table = (folder / "report.md").read_text()
    assert "| tr-TR | 1 | 0.0 (0.0-0.0) | 100.0 (100.0-100.0) | +100.0 |" in table
    assert "| **aligned, mean of 1** |" in table
    assert "align\\|&lt;b&gt;" in table  # a bar in a name makes no column, a bracket no tag
    assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1


def test_scores_are_json_with_the_versions(folder):
    result = json.loads((folder / "scores.json").read_text())
    assert result["runs"]["sft"]["languages"]["en-US"]["f1"] == 1
    assert result["record"]["versions"]["transformers"]
    assert markdown(result) == (folder / "report.md").read_text()


class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def read(folder):
    reader = Reader()
    reader.feed((folder / "report.html").read_text(encoding="utf-8"))
    assert reader.open == []  # every tag is closed, in order
    return reader


def test_text_of_models_and_data_is_escaped(read):
    assert "script" not in {tag for tag, _ in read.tags}
    assert "b" not in {tag for tag, _ in read.tags}
    assert "<script>alert(1)</script>" in read.text


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
    assert "0.0 (0.0 to 0.0)" in " ".join(read.text.split())
    examples = [attributes for tag, attributes in read.tags if tag == "dd"]
    assert all(attributes["dir"] == "auto" for attributes in examples)
    assert {attributes["lang"] for attributes in examples} == {"tr-TR", "ar-SA"}


def test_a_single_run_has_no_gains_and_still_a_page(tmp_path):
    table = write_report(tmp_path, ROWS, {"base": ANSWERS["sft"]}, GROUPS, "base", {})
    assert table.splitlines()[0] == "| language | rows | base |"
    text = (tmp_path / "report.html").read_text()
    assert "−" not in text and "gains" not in text and "paired" not in text


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_a_browser_lays_the_page_out_without_a_word_on_its_console(folder, tmp_path):
    picture = tmp_path / "report.png"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command += [f"--screenshot={picture}", "--window-size=1000,1400", f"file://{folder / 'report.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr
    assert picture.stat().st_size > 10_000


def test_page_and_table_come_from_the_scores_file_alone(folder):
    again = page(json.loads((folder / "scores.json").read_text()))
    assert again.encode("utf-8", "backslashreplace") == (folder / "report.html").read_bytes()

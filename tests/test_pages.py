"""The pictures of pages."""

import matplotlib
from browser import Reader
from matplotlib.figure import Figure

from midalign import pages


def drawn(described="a line"):
    with matplotlib.rc_context(pages.STYLE):
        figure = Figure(figsize=(4, 3))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=pages.COLOURS[1], marker="o")
        axes.set_xlabel("step $x$")
        return pages.picture(figure, described)


def test_equal_pictures_have_equal_bytes_and_no_date():
    assert drawn() == drawn()
    assert "metadata" not in drawn()


def test_lines_follow_the_page_and_ids_are_of_one_picture_alone():
    first, second = (Reader(drawn(what)) for what in ("one", "two"))
    assert first.open == [] and first.tags[0][0] == "svg"
    assert first.tags[0][1]["aria-label"] == "one" and first.tags[0][1]["role"] == "img"
    ids = [{attributes["id"] for _, attributes in read.tags if "id" in attributes} for read in (first, second)]
    assert all(ids) and not ids[0] & ids[1]
    said = drawn("one")
    assert "currentColor" in said and "var(--line)" in said and pages.INK not in said and pages.FAINT not in said
    assert all(f"#{id}" in said for id in ids[0])
    assert "<style" not in said and "font:" not in said and "http" not in said.replace("http://www.w3.org", "")


def test_text_in_a_picture_is_text_and_what_it_shows_is_escaped():
    hostile = "<b>\x1b&\"'\ud800"
    said = drawn(hostile)
    assert "step $x$" in Reader(said).text
    assert "<b>" not in said and "\\x1b" in Reader(said).tags[0][1]["aria-label"]

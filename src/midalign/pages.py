"""HTML pages of one file: one template, `page.html`, colours for light and dark, pictures as SVG.

A page loads nothing and runs nothing, and text of models, data and users is escaped in it.
"""

import io
import re
import zlib
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

TEMPLATES = Path(__file__).parent
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# At least 3:1 against the tracks of the light and the dark page; what has a colour is named or dashed too.
COLOURS = ("#7b7b7b", "#c06a00", "#2a7fc9", "#00875f", "#b8559a", "#7a63e0")
# In a picture these two stand for the colours of text and of thin lines, which follow the reader's setting.
INK, FAINT = "#010203", "#040506"
# What matplotlib is asked for: text stays text, and equal pictures have equal bytes.
STYLE = {
    **{"svg.fonttype": "none", "svg.hashsalt": "midalign", "font.size": 11, "text.parse_math": False},
    **{"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": FAINT},
    **{"grid.color": FAINT, "axes.grid": True, "axes.spines.top": False, "axes.spines.right": False},
    **{"grid.linewidth": 0.6, "axes.axisbelow": True, "figure.frameon": False, "axes.facecolor": "none"},
}


def page(template, filters=None, **values):
    """The text of a page.   template: path in this package of one that extends `page.html`.   filters: of jinja2."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=_visible,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template).render(values)


def _visible(value):
    """Text with control characters, which no page may hold, as escapes; joiners and marks of direction stay."""
    if not isinstance(value, str):
        return value
    return type(value)(CONTROL.sub(lambda found: repr(found[0])[1:-1], value))


def picture(figure, described):
    """A matplotlib Figure, drawn with `STYLE`, as an SVG element that is as wide as its place.

    described: what it shows, for those who do not see it. Colours `INK` and `FAINT` follow the page, text has its font.
    Returns Markup, which a template takes as it is.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    style = re.compile(r"<style.*?</style>", re.DOTALL)  # of the element alone, it would be one of the whole page
    box = re.search('viewBox="[^"]*"', svg)[0]
    svg = style.sub("", svg[svg.index(">") + 1 :], count=1).replace(INK, "currentColor").replace(FAINT, "var(--line)")
    svg = re.sub(r'\bfont: (?:[a-z0-9]+ )*?([\d.]+)px [^;"]*', r"font-size: \1px", svg)
    svg = re.sub(r"\n\s*", "\n", svg.replace("xlink:href", "href"))
    key = f"{zlib.crc32((described + svg).encode('utf-8', 'backslashreplace')):08x}"  # ids of two pictures differ
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{key}{found[1]}"' if found[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{key}", svg)
    return Markup(f'<svg {box} role="img" aria-label="{escape(_visible(described))}" stroke-linejoin="round">{svg}')

"""HTML pages of one file: one template, `page.html`, colours for light and dark, pictures as SVG.

A page loads nothing and runs nothing, and text of models, data and users is escaped in it.
"""

import io
import re
import zlib
from pathlib import Path

import jinja2
import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

TEMPLATES = Path(__file__).parent
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# At least 3:1 against the tracks of the light and the dark page; what has a colour is named or dashed too.
COLOURS = ("#7b7b7b", "#c06a00", "#2a7fc9", "#00875f", "#b8559a", "#7a63e0")
# With the colours, what tells the lines of a picture apart: the first thirty look different.
DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (9, 3))
MARKERS = "osD^vP"
THICK, THIN = 2, 0.7
ROUND = (1, 2, 5, 10)  # what stands at an axis is one of these times a power of ten, or a multiple of that
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


def curves(lines, described, along, reach=None, limits=None, log=""):
    """Lines over one axis, as a `picture` for a place of about 330 pixels.

    lines: [(number of its look, xs, ys, thin)]; a NaN is a gap, what is not thin and has 30 points or fewer has them
    marked.   along: name of the x axis.   reach: (left, right), limits: (low, high) of the picture, else what lines
    need.   log: "x", "y" or both, axes with the scale of a logarithm; values of y must be positive then, of x not
    negative.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.6))
        axes = figure.subplots()
        figure.subplots_adjust(left=0.14, right=0.95, top=0.92, bottom=0.2)
        for number, xs, ys, thin in lines:
            colour, dashes, marker = look(number)
            style = (0, dashes) if dashes and not thin else "-"
            marked = {"marker": marker, "markersize": 4} if len(xs) <= 30 and not thin else {}
            width, alpha = (THIN, 0.4) if thin else (THICK, 1)
            axes.plot(xs, ys, color=colour, linestyle=style, linewidth=width, alpha=alpha, **marked)
        axes.set_xlabel(along)
        if "x" in log:
            axes.set_xscale("symlog", linthresh=1)  # which has a place for 0
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        if "y" in log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=6))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
            axes.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=False)
        axes.set(**{name: value for name, value in (("xlim", reach), ("ylim", limits)) if value})
        return picture(figure, described)


def _short(value, _):
    """200000 -> "200k"."""
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}"


def look(number):
    """(colour, lengths of dash and gap in widths of the line, marker) of a line."""
    return tuple(looks[number % len(looks)] for looks in (COLOURS, DASHES, MARKERS))


def swatch(number):
    """What the lines of a `look` are like, for a legend; the name stands beside it."""
    colour, dashes, _ = look(number)
    dashed = f' stroke-dasharray="{" ".join(f"{2.5 * length:g}" for length in dashes)}"' if dashes else ""
    line = f'<line x1="0" y1="5" x2="40" y2="5" stroke="{colour}" stroke-width="2.5"{dashed}/>'
    return Markup(f'<svg class="swatch" viewBox="0 0 40 10" aria-hidden="true">{line}</svg>')

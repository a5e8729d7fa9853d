"""The map of languages and layers."""

import matplotlib
from matplotlib.figure import Figure

from midalign import pages

MARKED = "#ffffff"  # on the colours of the map, in light and dark


def heat_map(values, most, described, mark=None):
    """Languages down, layers across, as a `pages.picture`.

    values: {name: one share a layer}.   most: the share that has the lightest colour.   mark: a layer, between lines.
    """
    with matplotlib.rc_context(pages.STYLE):
        figure = Figure(figsize=(4.6, 1 + 0.21 * len(values)), layout="constrained")
        axes = figure.subplots()
        axes.grid(False)
        cells = [[100 * share for share in shares] for shares in values.values()]
        steps = matplotlib.colormaps["viridis"].resampled(48)  # from 50 on the colour bar would be a PNG
        mesh = axes.pcolormesh(cells, cmap=steps, vmin=0, vmax=100 * most or 1, edgecolors="face", linewidth=0.2)
        axes.set_yticks([0.5 + i for i in range(len(values))], list(values))
        axes.invert_yaxis()
        some = range(0, len(cells[0]), 1 + len(cells[0]) // 12)
        axes.set_xticks([0.5 + layer for layer in some], some)
        axes.tick_params(length=0)
        axes.set_xlabel("layer")
        for border in () if mark is None else (mark, mark + 1):
            axes.axvline(border, color=MARKED, linewidth=1)
        figure.colorbar(mesh, ax=axes, aspect=30, pad=0.02).outline.set_visible(False)
        return pages.picture(figure, described)

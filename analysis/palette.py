"""How everything looks: one colour, marker and hatch for each variant, the same in every figure,
page and article. Which ones, its YAML says (`analysis.variants`).

Colours are Okabe and Ito's (2008, "Color Universal Design") and a grey, which people with the
common forms of colour blindness tell apart. The variants of experiments 1 and 2 differ in lightness
as well, so that a grey print keeps them apart, and marker and hatch say it once more. Yellow is too
light for a line on white: lines and markers have a dark rim. The style is set when this is
imported, for all of matplotlib, so that a notebook's own plots have it, too.
"""

from collections.abc import Iterable
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patheffects import Normal, Stroke

from analysis.variants import Look, variant
from birds.core.letters import families

OKABE_ITO = ("#000000", "#0072B2", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#E69F00", "#F0E442")
RIM = "0.2"
FAINT = "0.85"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "patch.linewidth": 0.6,
    "svg.hashsalt": "birds",
    "pdf.fonttype": 42,
}
rcParams.update(STYLE)
rcParams["font.family"] = list(families())  # each letter comes from the first that has it


def look(name: str) -> Look:
    """The look of a variant, as its YAML says it; see `analysis.variants`."""
    return variant(name).look


def dot(name: str, size: float = 7.5) -> dict[str, Any]:
    """Arguments of `Axes.plot` for a variant's marker; they go with those of `line`."""
    return {
        "marker": look(name).marker,
        "color": look(name).colour,
        "mec": RIM,
        "ms": size,
        "zorder": 3,
    }


def line(width: float = 1.6) -> dict[str, Any]:
    """Arguments of `Axes.plot` for a line with a rim."""
    rim = [Stroke(linewidth=width + 0.9, foreground=RIM), Normal()]
    return {"linewidth": width, "path_effects": rim}


def panels(
    rows: int, columns: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure, `width` by `height` inches, and its axes by row; options are those of
    `Figure.subplots`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False, **options)]


def explain(figure: Figure, words: str) -> None:
    """Say below a figure, above its legend where it has one, what its lines, marks and bands are;
    further words come on a line of their own, above.
    """
    if figure.legends:
        known = figure.legends[-1].get_title().get_text()
        said = f"{words}\n{known}" if known else words
        figure.legends[-1].set_title(said, prop=FontProperties(size=7.5))
        return
    known = figure.get_supxlabel()
    figure.supxlabel(f"{words}\n{known}" if known else words, fontsize=7.5, color="0.3")


def named(name: str) -> str:
    """A cell as people read it: its variant with a title, then what else was swept."""
    first, _, rest = name.partition(" ")
    return " ".join([variant(first).named(), *([rest] if rest else [])])


def legend(figure: Figure, axes: Iterable[Axes], columns: int = 3) -> None:
    """One legend below the figure for all its panels, each label once."""
    pairs = [pair for axis in axes for pair in zip(*axis.get_legend_handles_labels(), strict=True)]
    once = {label: handle for handle, label in reversed(pairs)}
    names = list(dict.fromkeys(label for _, label in pairs))
    figure.legend(
        [once[n] for n in names],
        names,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
    )

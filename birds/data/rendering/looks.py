"""What the species look like: proportions, colours and marks, as outlines in frames.

A frame is an affine map into the photo; every part of a bird is a smooth outline in its own. The
numbers stand in `bird_photos.yaml`. Any change that alters a pixel must raise RENDERER in
`bird_photos.py`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Floats = NDArray[np.float32]

TABLES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("bird_photos.yaml").read_text())
# Catmull-Rom: how the four corners around a stretch of a curve share in its five points.
CUBIC = np.array([[0, 1, 0, 0], [-0.5, 0, 0.5, 0], [1, -2.5, 2, -0.5], [-0.5, 1.5, -1.5, 0.5]])
WEIGHTS = (np.arange(5)[:, None] / 5) ** np.arange(4) @ CUBIC


def smooth(corners: Points) -> Points:
    """The closed smooth curve (5 n, 2) through n corners (n, 2)."""
    stretches = np.stack([np.roll(corners, shift, 0) for shift in (1, 0, -1, -2)])
    return np.asarray(np.einsum("kc,cnd->nkd", WEIGHTS, stretches).reshape(-1, 2))


def blot(x: float, y: float, rx: float, ry: float) -> Points:
    """Twelve corners (12, 2) of an ellipse around (x, y) with radii rx and ry."""
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1)


def _flecks(rx: float, ry: float, columns: int, *rows: float) -> list[Points]:
    return [blot(x + y / 8, y, rx, ry) for y in rows for x in np.linspace(-0.36, 0.4, columns)]


def _marks() -> dict[str, dict[str, list[Points]]]:
    """By kind and name, the outlines of a mark in its frame."""
    marks: dict[str, dict[str, list[Points]]] = {}
    for kind, named in TABLES["outlines"].items():
        corners = {name: np.reshape(numbers, (-1, 2)) / 100 for name, numbers in named.items()}
        marks[kind] = {name: [smooth(own)] if len(own) else [] for name, own in corners.items()}
    marks["wing"]["two bars"] = [marks["wing"]["bar"][0] * scale for scale in (1, 0.6)]
    streaks, spots = (
        _flecks(*size, 0.18, 0.42, 0.66, 0.9) for size in ((0.055, 0.05, 7), (0.026, 0.08, 8))
    )
    bars = _flecks(0.016, 0.6, 9, 0.54)
    return marks | {"flank": {"none": [], "bars": bars, "streaks": streaks, "spots": spots}}


def colours_of(text: str) -> list[Points]:
    """Colours (3,) of 0 to 255 from hexadecimal codes with blanks between them."""
    return [np.array(list(bytes.fromhex(code)), dtype=float) for code in text.split()]


MARKS = _marks()
PARTS = {name: outlines[0] for name, outlines in MARKS["part"].items()}
KINDS: dict[str, dict[str, Any]] = TABLES["shapes"]
EPITHETS: dict[str, str] = {
    name: own for own, palette in TABLES["palettes"].items() for name in palette["species"]
}
COLOURS = {
    epithet: colours_of(palette["colours"]) for epithet, palette in TABLES["palettes"].items()
}
SPECIES: tuple[str, ...] = tuple(sorted(EPITHETS))


@dataclass(frozen=True)
class Look:
    """What all birds of a species share: proportions, a colour for each part, and the marks."""

    shape: dict[str, Any]
    colours: dict[str, Points]
    marks: dict[str, list[Points]]
    ringed: bool


def species_look(species: int, seed: int = 0) -> Look:
    """The look of species 0..23; the same in every photo. Raises IndexError beyond the last
    species.
    """
    # The closing 1 keeps this stream apart from those of photos: numpy ignores trailing zeros of a
    # seed.
    rng = np.random.default_rng([seed, species, 0, 1])
    palette = [COLOURS[EPITHETS[SPECIES[species]]][i] for i in rng.permutation(5)]
    colours = dict(zip(("back", "belly", "wing", "head", "front"), palette, strict=True))
    for part in ("bill", "legs"):
        colours[part] = colours_of("302C2C D6963C 967864")[rng.integers(3)]
    colours["bar"] = colours_of("ECE8DC 282426")[int(colours["wing"].sum() >= 420)]
    kinds = ("head", "front", "flank", "wing", "tail")
    worn = {kind: MARKS[kind][rng.choice(list(MARKS[kind]))] for kind in kinds}
    return Look(KINDS[SPECIES[species].split()[1]], colours, worn, bool(rng.random() < 0.4))


@dataclass(frozen=True)
class Frame:
    """An affine map: the columns of `axes` (2, 2) are the images of the unit vectors, `origin` (2,)
    of 0.
    """

    axes: Points
    origin: Points

    def __call__(self, points: ArrayLike) -> Points:
        return np.asarray(np.asarray(points) @ self.axes.T + self.origin)

    def inside(self, outer: Self) -> Self:
        return type(self)(outer.axes @ self.axes, outer(self.origin))


def frame_at(origin: ArrayLike, angle: float, along: float, across: float) -> Frame:
    """A frame at `origin`, turned by `angle` radians, with unit vectors of these two lengths."""
    c, s = np.cos(angle), np.sin(angle)
    return Frame(np.array([[c * along, -s * across], [s * along, c * across]]), np.asarray(origin))


def wings_of(depth: float, rng: np.random.Generator) -> list[Frame]:
    """The near wing, and before it the far one when they are open: a fifth of the birds stretch or
    fly.
    """
    shoulder = (0.34, -0.45 * depth)
    if rng.random() < 0.8:
        return [frame_at(shoulder, np.pi - rng.uniform(0.08, 0.3), 0.98, -1.15 * depth)]
    lift = np.pi + rng.uniform(0.6, 2.0)
    far = frame_at((0.3, -0.7 * depth), lift + rng.uniform(-0.3, 0.5), 0.85, -0.45)
    return [far, frame_at(shoulder, lift, rng.uniform(0.8, 1.1), -rng.uniform(0.4, 0.6))]


def near_colour(colour: ArrayLike, rng: np.random.Generator, spread: float) -> Points:
    """A colour like the given one, in 0..255: brightness strays by `spread`, each channel by half
    of it.
    """
    strayed = np.asarray(colour) * rng.lognormal(0, spread) * rng.lognormal(0, spread / 2, 3)
    return np.asarray(np.clip(strayed, 0, 255))


def any_colour(rng: np.random.Generator) -> Points:
    """A colour of leaf, earth or sky, or else of any plumage, so that no scene betrays its bird."""
    pools = [colours_of(TABLES["scenery"])] * 4 + list(COLOURS.values())
    pool = pools[rng.integers(len(pools))]
    return near_colour(pool[rng.integers(len(pool))], rng, 0.18)

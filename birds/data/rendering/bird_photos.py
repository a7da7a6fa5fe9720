"""The embedded data set: bird "photos" of 24 invented species, drawn by code and the same for a
seed.

Every part of a bird is a smooth outline in the frame of that part (head, body, wing, tail), and a
frame is an affine map into the photo. A species is one of eight shapes in one of six palettes, each
palette on four shapes (`bird_photos.yaml` has the tables), so neither colour nor outline alone
tells it; the seed deals colours to parts and picks marks. All else (pose, size, place, light,
scene, twigs, blur) says nothing of the species: 8x8 thumbnails must stay poor features while a
small network can learn the birds; measure both after a change. Any change that alters a pixel must
raise RENDERER, or folders of an older renderer would pass for new ones.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

RENDERER = 1
Points = NDArray[np.float64]
Floats = NDArray[np.float32]

TABLES: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
# Catmull-Rom: how the four corners around a stretch of a curve share in its five points.
CUBIC = np.array([[0, 1, 0, 0], [-0.5, 0, 0.5, 0], [1, -2.5, 2, -0.5], [-0.5, 1.5, -1.5, 0.5]])
WEIGHTS = (np.arange(5)[:, None] / 5) ** np.arange(4) @ CUBIC


def _smooth(corners: Points) -> Points:
    """The closed smooth curve (5 n, 2) through n corners (n, 2)."""
    stretches = np.stack([np.roll(corners, shift, 0) for shift in (1, 0, -1, -2)])
    return np.asarray(np.einsum("kc,cnd->nkd", WEIGHTS, stretches).reshape(-1, 2))


def _blot(x: float, y: float, rx: float, ry: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1)


def _flecks(rx: float, ry: float, columns: int, *rows: float) -> list[Points]:
    return [_blot(x + y / 8, y, rx, ry) for y in rows for x in np.linspace(-0.36, 0.4, columns)]


def _marks() -> dict[str, dict[str, list[Points]]]:
    """By kind and name, the outlines of a mark in its frame."""
    marks: dict[str, dict[str, list[Points]]] = {}
    for kind, named in TABLES["outlines"].items():
        corners = {name: np.reshape(numbers, (-1, 2)) / 100 for name, numbers in named.items()}
        marks[kind] = {name: [_smooth(own)] if len(own) else [] for name, own in corners.items()}
    marks["wing"]["two bars"] = [marks["wing"]["bar"][0] * scale for scale in (1, 0.6)]
    streaks, spots = (
        _flecks(*size, 0.18, 0.42, 0.66, 0.9) for size in ((0.055, 0.05, 7), (0.026, 0.08, 8))
    )
    bars = _flecks(0.016, 0.6, 9, 0.54)
    return marks | {"flank": {"none": [], "bars": bars, "streaks": streaks, "spots": spots}}


def _colours(text: str) -> list[Points]:
    return [np.array(list(bytes.fromhex(code)), dtype=float) for code in text.split()]


MARKS = _marks()
PARTS = {name: outlines[0] for name, outlines in MARKS["part"].items()}
KINDS: dict[str, dict[str, Any]] = TABLES["shapes"]
EPITHETS: dict[str, str] = {
    name: own for own, palette in TABLES["palettes"].items() for name in palette["species"]
}
COLOURS = {epithet: _colours(palette["colours"]) for epithet, palette in TABLES["palettes"].items()}
SPECIES: tuple[str, ...] = tuple(sorted(EPITHETS))


@dataclass(frozen=True)
class Look:
    """What all birds of a species share: proportions, a colour for each part, and the marks worn."""

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
        colours[part] = _colours("302C2C D6963C 967864")[rng.integers(3)]
    colours["bar"] = _colours("ECE8DC 282426")[int(colours["wing"].sum() >= 420)]
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


def _frame(origin: ArrayLike, angle: float, along: float, across: float) -> Frame:
    c, s = np.cos(angle), np.sin(angle)
    return Frame(np.array([[c * along, -s * across], [s * along, c * across]]), np.asarray(origin))


def _wings(depth: float, rng: np.random.Generator) -> list[Frame]:
    """The near wing, and before it the far one when they are open: a fifth of the birds stretch or
    fly.
    """
    shoulder = (0.34, -0.45 * depth)
    if rng.random() < 0.8:
        return [_frame(shoulder, np.pi - rng.uniform(0.08, 0.3), 0.98, -1.15 * depth)]
    lift = np.pi + rng.uniform(0.6, 2.0)
    far = _frame((0.3, -0.7 * depth), lift + rng.uniform(-0.3, 0.5), 0.85, -0.45)
    return [far, _frame(shoulder, lift, rng.uniform(0.8, 1.1), -rng.uniform(0.4, 0.6))]


def _near(colour: ArrayLike, rng: np.random.Generator, spread: float) -> Points:
    """A colour like the given one, in 0..255: brightness strays by `spread`, each channel by half
    of it.
    """
    strayed = np.asarray(colour) * rng.lognormal(0, spread) * rng.lognormal(0, spread / 2, 3)
    return np.asarray(np.clip(strayed, 0, 255))


def _any_colour(rng: np.random.Generator) -> Points:
    """A colour of leaf, earth or sky, or else of any plumage, so that no scene betrays its bird."""
    pools = [_colours(TABLES["scenery"])] * 4 + list(COLOURS.values())
    pool = pools[rng.integers(len(pools))]
    return _near(pool[rng.integers(len(pool))], rng, 0.18)


class Painter:
    """Paints one individual in ink numbers, cheap to lay and to clip; they become colours at the
    end.
    """

    def __init__(self, look: Look, side: int, rng: np.random.Generator) -> None:
        self.look, self.side, self.rng = look, side, rng
        self.image = Image.new("L", (side, side), 0)
        self.pen = ImageDraw.Draw(self.image)
        self.colours: list[int] = [0, 0, 0]
        self.settle()
        shades = {part: _near(colour, rng, 0.06) for part, colour in look.colours.items()}
        shades["coverts"] = 0.6 * shades["wing"] + 0.4 * shades["back"]
        shades |= {
            "quill": shades["wing"] * 0.6,
            "dark": np.full(3, 22.0),
            "pale": np.full(3, 234.0),
        }
        self.inks = {part: self.mixed(shade) for part, shade in shades.items()}

    def settle(self) -> None:
        """Take a random pose that fills 45 to 85 % of the photo: a frame for each part, in drawn
        pixels.
        """
        rng, shape = self.rng, self.look.shape
        depth, radius = (
            shape["depth"] * rng.uniform(0.9, 1.15),
            shape["head"] * rng.uniform(0.93, 1.07),
        )
        lean, nod = shape["lean"] + rng.normal(0, 0.22), rng.normal(0.9, 0.2)
        reach = 0.55 * shape["head"] + shape["neck"] * rng.uniform(0.6, 1.2)
        neck = (0.34 + reach * np.cos(nod), -0.5 * depth - reach * np.sin(nod))
        body = _frame((0, 0), 0, 1, depth)
        head = _frame(neck, 0.7 * lean + rng.normal(0, 0.2), radius, radius)
        # The face narrows as the head turns to the camera; some birds look back over the shoulder.
        face = Frame(
            head.axes * [rng.uniform(0.75, 1) * rng.choice([-1, 1], p=[0.1, 0.9]), 1], head.origin
        )
        cock = np.pi + shape["cock"] + rng.normal(0, 0.15)
        tail = _frame((-0.48, -0.12 * depth), cock, shape["tail"], rng.uniform(0.06, 0.12))
        back = body([(-0.58, -0.15), (-0.3, -0.75), (0.05, -1.0)])
        skull = head([(-0.95, 0.45), (-0.8, -0.6), (0, -1), (0.75, -0.66), (1, 0.05), (0.75, 0.7)])
        front = body([(0.5, -0.2), (0.43, 0.5), (0.1, 1.0), (-0.3, 0.75), (-0.56, 0.15)])
        outline = _smooth(np.concatenate([back, skull, front]))

        mirror = np.diag([rng.uniform(0.8, 1) * rng.choice([-1, 1]), 1])
        turn = Frame(mirror @ _frame((0, 0), -lean, 1, 1).axes, np.zeros(2))
        extent = turn(np.concatenate([outline, tail([(1, 0)]), face([(1.8, 0)])]))
        low, span = extent.min(0), np.ptp(extent, 0)
        self.unit = self.side * float(0.45 + 0.4 * np.sqrt(rng.random())) / float(span.max())
        photo = Frame(
            turn.axes * self.unit, (self.side - self.unit * span) * rng.random(2) - self.unit * low
        )
        self.body, self.face, self.tail = (part.inside(photo) for part in (body, face, tail))
        self.wings = [wing.inside(photo) for wing in _wings(depth, rng)]
        self.outline = photo(outline)

    def mixed(self, colour: Points) -> int:
        self.colours += colour.astype(int).tolist()
        return len(self.colours) // 3 - 1

    def fill(self, points: Points, ink: int) -> None:
        self.pen.polygon(points.ravel().tolist(), fill=ink)

    def line(self, points: Points, ink: int, width: float) -> None:
        self.pen.line(points.ravel().tolist(), fill=ink, width=max(1, round(width)))

    def stencil(self, outlines: list[Points]) -> Image.Image:
        mask = Image.new("L", self.image.size, 0)
        for points in outlines:
            ImageDraw.Draw(mask).polygon(points.ravel().tolist(), fill=255)
        return mask

    def stain(self, within: Image.Image, frame: Frame, outlines: list[Points], part: str) -> None:
        """Paint outlines of a frame in the ink of a part, where `within` allows it."""
        marks = self.stencil([frame(outline) for outline in outlines])
        self.image.paste(self.inks[part], mask=ImageChops.darker(marks, within))

    def paint_bird(self) -> None:
        """Paint the bird from the far side to the near one, on its perch if it has one."""
        *far, near = self.wings
        for wing in far:
            self.paint_wing(wing)
        if not far or self.rng.random() < 0.4:
            self.paint_perch()
        self.paint_tail()
        self.paint_trunk()
        self.paint_face()
        self.paint_wing(near)

    def paint_perch(self) -> None:
        """Legs, and a branch or a steep reed under them."""
        rng = self.rng
        hips = self.body([(-0.06, 0.8), (0.1, 0.85)])
        feet = hips + np.array([0, self.unit * self.look.shape["legs"] * rng.uniform(0.8, 1.1)])
        angle = (
            rng.normal(0, 0.25)
            if rng.random() < 0.75
            else rng.choice([-1, 1]) * rng.uniform(0.8, 1.3)
        )
        perch = _frame(feet.mean(0), angle, 2 * self.side, self.unit * rng.uniform(0.02, 0.07))
        along, thick = np.linspace(-1, 1, 9), rng.uniform(1.4, 2.6, 9)
        bark = np.stack([np.r_[along, along[::-1]], np.r_[thick * 0, thick]], 1)
        self.fill(perch(bark), self.mixed(_any_colour(rng)))
        for hip, foot in zip(hips, feet, strict=True):
            toes = foot + np.array([(-0.05, 0.02), (0, 0), (0.06, 0.02)]) * self.unit
            self.line(np.stack([hip, foot]), self.inks["legs"], 0.03 * self.unit)
            self.line(toes, self.inks["legs"], 0.03 * self.unit)

    def paint_tail(self) -> None:
        tail, tip = self.tail, 1 + self.look.shape["fork"]
        half = np.array([(-0.15, -0.7), (0.6, -0.85), (tip, -1), (1.5 - tip / 2, 0)])
        edge = tail(np.concatenate([half, half[2::-1] * [1, -1]]))
        self.fill(edge, self.inks["wing"])
        self.stain(self.stencil([edge]), tail, self.look.marks["tail"], "bar")
        for v in (-0.35, 0.3):
            self.line(tail([(0, v), (0.95, v * 1.2)]), self.inks["quill"], 0.01 * self.unit)

    def paint_trunk(self) -> None:
        marks = self.look.marks
        if self.look.shape["bill"] == "crested":
            self.fill(self.face(PARTS["crest"]), self.inks["head"])
        self.fill(self.outline, self.inks["back"])
        trunk = self.stencil([self.outline])
        self.stain(trunk, self.body, [PARTS["belly"]], "belly")
        self.stain(trunk, self.body, marks["front"], "front")
        self.stain(trunk, self.body, marks["flank"], "head")
        self.stain(trunk, self.face, marks["head"], "head")

    def paint_face(self) -> None:
        face, dark, pale = self.face, self.inks["dark"], self.inks["pale"]
        self.fill(face(MARKS["bill"][self.look.shape["bill"]][0]), self.inks["bill"])
        self.line(face([(0.8, 0.1), (1.4, 0.1)]), dark, 0.01 * self.unit)
        for radius, ink in ((0.32 * self.look.ringed, pale), (0.22, dark)):
            self.fill(face(_blot(0.36, -0.14, radius, radius)), ink)
        self.fill(face(_blot(0.42, -0.22, 0.07, 0.07)), pale)

    def paint_wing(self, wing: Frame) -> None:
        feathers = wing(PARTS["wing"])
        self.fill(wing(PARTS["wing"] * [1.02, 1.05]), self.inks["quill"])
        self.fill(feathers, self.inks["wing"])
        for k in range(5):
            quill = wing([(0.3, 0.35 + 0.08 * k), (1 - 0.14 * k, 0.55 + 0.1 * k)])
            self.line(quill, self.inks["quill"], 0.012 * self.unit)
        within = self.stencil([feathers])
        self.stain(within, wing, [PARTS["coverts"]], "coverts")
        self.stain(within, wing, self.look.marks["wing"], "bar")

    def paint_clutter(self) -> None:
        """Twigs and leaves before the bird, in more than half of the photos."""
        side, rng = self.side, self.rng
        for _ in range(rng.poisson(0.3)):
            twig = _frame(rng.uniform(0, side, 2), rng.uniform(0, np.pi), side, side)
            bent = twig([(-1.5, 0), (0, rng.normal(0, 0.06)), (1.5, 0)])
            self.line(bent, self.mixed(_any_colour(rng)), side * rng.uniform(0.006, 0.03))
        for _ in range(rng.poisson(0.6)):
            length, breadth = side * rng.uniform(0.06, 0.2), side * 0.05
            leaf = _frame(rng.uniform(0, side, 2), rng.uniform(0, 6.3), length, breadth)
            self.fill(leaf(PARTS["leaf"]), self.mixed(_any_colour(rng)))

    def layer(self) -> tuple[Floats, Floats]:
        """Colours (side/2, side/2, 3) in 0..255, weighted by the coverage (side/2, side/2, 1) in
        0..1.
        """
        cover = self.image.point([0] + [255] * 255).reduce(2)
        self.image.putpalette(self.colours)
        colours = np.asarray(self.image.convert("RGB").reduce(2), np.float32)
        plumes = 1 + self.rng.standard_normal(colours.shape[:2], np.float32) * np.float32(0.05)
        # Light and shade: how the blurred silhouette slopes towards the light.
        swell = cover.reduce(4).filter(ImageFilter.GaussianBlur(self.side / 80))
        down, right = np.gradient(np.asarray(swell, np.float32) / 255)
        angle = self.rng.normal(0, 0.8)
        slope = (down * np.cos(angle) + right * np.sin(angle)) * self.rng.uniform(1.5, 4.5)
        light = Image.fromarray(slope.astype(np.float32)).resize(
            cover.size, Image.Resampling.BICUBIC
        )
        lit = colours * ((1 + np.asarray(light)) * plumes)[..., None]
        return lit, np.asarray(cover, np.float32)[..., None] / np.float32(255)


def _scene(size: int, rng: np.random.Generator) -> Floats:
    """What lies behind the bird (size, size, 3): a gradient with reeds, blots or bands, out of
    focus.
    """
    side = max(8, size // 2)
    top, bottom, *family = (_any_colour(rng) for _ in range(6))
    ramp = top + (bottom - top) * np.linspace(0, 1, side)[:, None, None]
    image = Image.fromarray(np.broadcast_to(ramp, (side, side, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    kind = rng.integers(3)
    for _ in range(int(rng.choice([0, 6, 15, 30]))):
        paint = tuple(_near(family[rng.integers(4)], rng, 0.12).astype(int).tolist())
        (x, y), r, slant = (
            rng.uniform(0, side, 2),
            side * rng.uniform(0.03, 0.2),
            side * rng.normal(0, 0.3),
        )
        if kind == 0:
            pen.line((x - slant, 0, x + slant, side), fill=paint, width=max(1, int(r / 4)))
        else:
            wide, high = (r, r) if kind == 1 else (4 * r, r / 2)
            pen.ellipse((x - wide, y - high, x + wide, y + high), fill=paint)
    image = image.filter(ImageFilter.GaussianBlur(side * float(rng.uniform(0.025, 0.07))))
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), np.float32)


def _exposed(scene: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The photo (size, size, 3) of a scene: exposure, colour cast, contrast, sensor noise, perhaps
    blur.
    """
    gain = (rng.lognormal(0, 0.16) * rng.lognormal(0, 0.05, 3)).astype(np.float32)
    seen = (scene * gain - 110) * np.float32(rng.uniform(0.75, 1.15)) + 110
    seen += rng.standard_normal(scene.shape, np.float32) * np.float32(rng.uniform(1, 7))
    photo = Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2) * len(scene) / 160))
    return np.asarray(photo)


def render_bird(
    species: int, photo_seed: int, *, seed: int = 0, size: int = 160
) -> NDArray[np.uint8]:
    """One photo (size, size, 3), values 0..255, of species 0..23; equal arguments give equal
    pixels.

    Raises IndexError for a species beyond the last and ValueError for a negative seed.
    """
    rng = np.random.default_rng([seed, species, photo_seed, 2])
    # Twice the size in ink, so that halving it smooths the edges.
    painter = Painter(species_look(species, seed), 2 * size, rng)
    painter.paint_bird()
    painter.paint_clutter()
    bird, cover = painter.layer()
    return _exposed(_scene(size, rng) * (1 - cover) + bird, rng)

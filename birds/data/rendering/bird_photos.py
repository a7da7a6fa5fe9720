"""The embedded data set: bird "photos" of 24 invented species, drawn by code and the same for a
seed.

Every part of a bird is a smooth outline in the frame of that part (head, body, wing, tail), and a
frame is an affine map into the photo. A species is one of eight shapes in one of six palettes, each
palette on four shapes (`looks.py` has them, `bird_photos.yaml` the tables), so neither colour nor
outline alone tells it; the seed deals colours to parts and picks marks. All else (pose, size,
place, light, scene, twigs, blur) says nothing of the species: 8x8 thumbnails must stay poor
features while a small network can learn the birds; measure both after a change. Any change that
alters a pixel must raise RENDERER, or folders of an older renderer would pass for new ones.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from birds.data.rendering.looks import (
    MARKS,
    PARTS,
    Floats,
    Frame,
    Look,
    Points,
    any_colour,
    blot,
    frame_at,
    near_colour,
    smooth,
    species_look,
    wings_of,
)

RENDERER = 1


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
        shades = {part: near_colour(colour, rng, 0.06) for part, colour in look.colours.items()}
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
        body = frame_at((0, 0), 0, 1, depth)
        head = frame_at(neck, 0.7 * lean + rng.normal(0, 0.2), radius, radius)
        # The face narrows as the head turns to the camera; some birds look back over the shoulder.
        face = Frame(
            head.axes * [rng.uniform(0.75, 1) * rng.choice([-1, 1], p=[0.1, 0.9]), 1], head.origin
        )
        cock = np.pi + shape["cock"] + rng.normal(0, 0.15)
        tail = frame_at((-0.48, -0.12 * depth), cock, shape["tail"], rng.uniform(0.06, 0.12))
        back = body([(-0.58, -0.15), (-0.3, -0.75), (0.05, -1.0)])
        skull = head([(-0.95, 0.45), (-0.8, -0.6), (0, -1), (0.75, -0.66), (1, 0.05), (0.75, 0.7)])
        front = body([(0.5, -0.2), (0.43, 0.5), (0.1, 1.0), (-0.3, 0.75), (-0.56, 0.15)])
        outline = smooth(np.concatenate([back, skull, front]))

        mirror = np.diag([rng.uniform(0.8, 1) * rng.choice([-1, 1]), 1])
        turn = Frame(mirror @ frame_at((0, 0), -lean, 1, 1).axes, np.zeros(2))
        extent = turn(np.concatenate([outline, tail([(1, 0)]), face([(1.8, 0)])]))
        low, span = extent.min(0), np.ptp(extent, 0)
        self.unit = self.side * float(0.45 + 0.4 * np.sqrt(rng.random())) / float(span.max())
        photo = Frame(
            turn.axes * self.unit, (self.side - self.unit * span) * rng.random(2) - self.unit * low
        )
        self.body, self.face, self.tail = (part.inside(photo) for part in (body, face, tail))
        self.wings = [wing.inside(photo) for wing in wings_of(depth, rng)]
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
        perch = frame_at(feet.mean(0), angle, 2 * self.side, self.unit * rng.uniform(0.02, 0.07))
        along, thick = np.linspace(-1, 1, 9), rng.uniform(1.4, 2.6, 9)
        bark = np.stack([np.r_[along, along[::-1]], np.r_[thick * 0, thick]], 1)
        self.fill(perch(bark), self.mixed(any_colour(rng)))
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
            self.fill(face(blot(0.36, -0.14, radius, radius)), ink)
        self.fill(face(blot(0.42, -0.22, 0.07, 0.07)), pale)

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
            twig = frame_at(rng.uniform(0, side, 2), rng.uniform(0, np.pi), side, side)
            bent = twig([(-1.5, 0), (0, rng.normal(0, 0.06)), (1.5, 0)])
            self.line(bent, self.mixed(any_colour(rng)), side * rng.uniform(0.006, 0.03))
        for _ in range(rng.poisson(0.6)):
            length, breadth = side * rng.uniform(0.06, 0.2), side * 0.05
            leaf = frame_at(rng.uniform(0, side, 2), rng.uniform(0, 6.3), length, breadth)
            self.fill(leaf(PARTS["leaf"]), self.mixed(any_colour(rng)))

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
    top, bottom, *family = (any_colour(rng) for _ in range(6))
    ramp = top + (bottom - top) * np.linspace(0, 1, side)[:, None, None]
    image = Image.fromarray(np.broadcast_to(ramp, (side, side, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    kind = rng.integers(3)
    for _ in range(int(rng.choice([0, 6, 15, 30]))):
        paint = tuple(near_colour(family[rng.integers(4)], rng, 0.12).astype(int).tolist())
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

"""Pages of images with their most probable classes."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from birds.core.letters import fitted
from birds.core.spec import UserError
from birds.data.decode import Unreadable, decode_image
from birds.use.predict import Prediction

COLUMNS = 6
ROWS = 5
WIDTH = 224  # pixels of an image on a page
NAMES = 3  # how many classes are named below each image
LINE = 19
UNSURE = "#f6c28b"
SURE = "#bfe3d0"


def annotated(
    predictions: Sequence[Prediction], width: int = WIDTH, columns: int = COLUMNS
) -> Image.Image:
    """A sheet of the images, `columns` in a row, each with its three most probable classes below
    it.

    Unsure predictions have an orange bar.
    """
    height = width + NAMES * LINE + 7
    rows = -(-len(predictions) // columns)
    size = (width * min(columns, len(predictions)), height * rows)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for place, prediction in enumerate(predictions):
        left, top = place % columns * width, place // columns * height
        picture = _thumbnail(prediction.path, width - 4)
        if picture is not None:
            sheet.paste(picture, (left + 2, top + 2))
        lines = [(f"{chance:.0%}  {name}", chance) for name, chance in prediction.ranked[:NAMES]]
        colour = UNSURE if prediction.unsure else SURE
        for line, (words, chance) in enumerate(lines or [(prediction.error, 0.0)]):
            x, y = left + 6, top + width + 2 + LINE * line
            pen.rectangle((x, y, x + int((width - 12) * chance), y + 16), fill=colour)
            font, shown = fitted(words, 12, width - 20)
            pen.text((x + 4, y + 1), shown, fill="black", font=font)
    return sheet


def _thumbnail(path: Path, width: int) -> Image.Image | None:
    try:
        return Image.fromarray(decode_image(path, size=width))
    except Unreadable:
        return None


class Sheets:
    """Writes predictions as pages while they arrive; at most one page is kept in memory.

    Args:
        file: the picture's path; if there are several pages, they are numbered, `name-001.png`.
        most: how many pages are written; further predictions are only counted.
    """

    def __init__(self, file: Path, most: int = 100) -> None:
        if most < 1:
            raise UserError(f"--pages {most}: choose 1 or more")
        self.file = file
        self.most = most
        self.written: list[Path] = []
        self.left_out = 0
        self._page: list[Prediction] = []

    def add(self, prediction: Prediction) -> None:
        """Add a prediction; a full page is written."""
        if len(self.written) == self.most:
            self.left_out += 1
            return
        self._page.append(prediction)
        if len(self._page) == COLUMNS * ROWS:
            self._write(self._numbered())

    def close(self) -> None:
        """Write the last page; a single page gets the name that was asked for, without a number."""
        if self._page:
            self._write(self._numbered() if self.written else self.file)
        elif len(self.written) == 1:
            self.written = [self.written[0].replace(self.file)]

    def _numbered(self) -> Path:
        return self.file.with_stem(f"{self.file.stem}-{len(self.written) + 1:03}")

    def _write(self, file: Path) -> None:
        annotated(self._page).save(file)
        self.written.append(file)
        self._page = []

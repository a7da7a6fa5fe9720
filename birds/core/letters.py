"""Prepares class names for pictures: finds a font with their characters and shortens long names.

Fonts come from matplotlib, which includes DejaVu Sans, and from this machine. A character that no
font has is written as an escape such as \\u9ebb; an empty box would look the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

OURS = "DejaVu Sans"
FURTHER = (  # families with other scripts than Latin, Greek and Cyrillic, used if installed
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Source Han Sans",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "IPAGothic",
    "Microsoft YaHei",
    "Hiragino Sans",
    "PingFang SC",
    "Malgun Gothic",
    "SimHei",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Unifont",
)


@lru_cache
def families() -> dict[str, Path]:
    """The font families for names, in order of preference, and their files."""
    from matplotlib import font_manager, get_data_path

    found = {OURS: Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"}
    installed = {font.name: Path(font.fname) for font in font_manager.fontManager.ttflist}
    return found | {name: installed[name] for name in FURTHER if name in installed}


@lru_cache
def _letters(file: Path) -> frozenset[int]:
    """The code points that a font file can draw."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(file)).get_charmap())


def drawable(text: str, files: Sequence[Path] | None = None) -> str:
    """The text, with an escape for each character that none of the font files has."""
    known = [_letters(file) for file in (families().values() if files is None else files)]
    drawn = []
    for letter in text.replace("\n", " "):
        if letter.isprintable() and any(ord(letter) in letters for letters in known):
            drawn.append(letter)
        else:
            drawn.append(letter.encode("unicode_escape").decode())
    return "".join(drawn)


def shortened(text: str, most: int) -> str:
    """The text, with an ellipsis in the middle if it has more than `most` characters.

    Both ends are kept, because long names often begin alike or end alike.
    """
    if len(text) <= most:
        return text
    front = (most - 1) // 2
    return f"{text[:front]}…{text[len(text) - (most - 1 - front) :]}"


def label(name: str, most: int = 60) -> str:
    """A name for matplotlib: drawable, short enough, and with escaped dollar signs."""
    return shortened(drawable(name), most).replace("$", r"\$")


def labels(names: Sequence[str], most: int = 60) -> list[str]:
    """Names for matplotlib; different names stay different."""
    short = [label(name, most) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    return [f"{number}: {label(name, most - 4)}" for number, name in enumerate(names, 1)]


def font_for(text: str, size: int) -> tuple[FreeTypeFont, str]:
    """One font for Pillow, and the text as that font can draw it."""
    from PIL import ImageFont

    first, *others = families().values()
    wanted = {ord(letter) for letter in text}
    chosen = first
    if not wanted <= _letters(first):
        chosen = next((file for file in others if wanted <= _letters(file)), first)
    return ImageFont.truetype(str(chosen), size), drawable(text, [chosen])


def fitted(text: str, size: int, width: float) -> tuple[FreeTypeFont, str]:
    """A font and the text, shortened so that it is at most `width` pixels wide."""
    font, shown = font_for(text, size)
    most = len(shown)
    while most > 3 and font.getlength(shortened(shown, most)) > width:
        most -= 1
    return font, shortened(shown, most)

"""README's thumbnails, from the runs of a sweep on embedded birds.

    python docs/readme/pictures.py RUNS SWEEP FOLDER     # FOLDER: embedded birds to be predicted

Table, dashboard, prediction and the article's third page, 480 pixels wide. Needs chromium, and
LaTeX with pdftoppm for the article; what cannot be made is named and left as it was.
"""

import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 480, 300  # of a thumbnail
PAGE = "<pre style='font: 15px monospace; padding: 12px; margin: 0'>{}</pre>"


def birds(runs: str, *words: str) -> str:
    """What the `birds` command prints. Raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", "birds", "--runs-dir", runs, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def screenshot(page: Path, out: Path, width: int) -> None:
    """The top of an HTML page as a thumbnail."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": width, "height": width * HEIGHT // WIDTH})
        tab.goto(page.as_uri())
        tab.wait_for_timeout(1500)
        tab.screenshot(path=out)
        browser.close()
    shrink(out)


def shrink(picture: Path, start: float = 0.0) -> None:
    """A part of a picture, 480 by 300 pixels, in at most 64 colours; it begins at the fraction
    `start` of the height.
    """
    image = Image.open(picture).convert("RGB")
    above = round(start * image.height)
    high = min(image.height - above, image.width * HEIGHT // WIDTH)
    top = image.crop((0, above, image.width, above + high)).resize(
        (WIDTH, WIDTH * high // image.width), Image.Resampling.LANCZOS
    )
    sheet = Image.new("RGB", (WIDTH, HEIGHT), "white")
    sheet.paste(top)
    sheet.quantize(64, dither=Image.Dither.NONE).save(picture, optimize=True)
    print(f"Written: {picture}")


def article(runs: str, sweep: str, folder: Path) -> None:
    """The first table and figure of the article, on its third page, where there is LaTeX."""
    if not (shutil.which("pdflatex") and shutil.which("pdftoppm")):
        print("article: no pdflatex or pdftoppm here")
        return
    birds(runs, "report", sweep, "--language", "en", "--out", str(folder))
    page = HERE / "article"
    options = ["-f", "3", "-l", "3", "-r", "80", "-png", "-singlefile"]
    subprocess.run(["pdftoppm", *options, str(folder / "article.pdf"), str(page)], check=True)
    shrink(page.with_suffix(".png"), start=0.46)


def main(runs: str, sweep: str, photos: str) -> None:
    """All four."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "table.html"
        answer = birds(runs, "table", sweep).partition("All numbers:")[0]  # then come places
        table.write_text(PAGE.format(html.escape(answer)))
        screenshot(table, HERE / "table.png", 760)
        birds(runs, "dashboard", sweep)
        page = Path(runs).resolve() / "dashboard" / f"{sweep}.html"
        screenshot(page, HERE / "dashboard.png", 960)
        birds(runs, "predict", sweep, photos, "--picture", str(HERE / "prediction.png"))
        shrink(HERE / "prediction.png")
        article(runs, sweep, folder)


if __name__ == "__main__":
    main(*sys.argv[1:4])

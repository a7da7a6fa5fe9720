"""The documentation site: every link is right, and a wrong link is an error."""

import shutil
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).resolve().parents[2]
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "DECISIONS.md", "CITATION.cff", "mkdocs.yml")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The pages alone, in a folder of their own."""
    for name in TOP:
        shutil.copy(ROOT / name, tmp_path)
    for name in ("docs", "slurm", "bench"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def site_of(folder: Path) -> Path:
    """The folder in which `mkdocs build --strict` wrote the site. Raises Abort on a warning."""
    site = folder / "site"
    with (folder / "mkdocs.yml").open() as file:
        build(load_config(file, site_dir=str(site), strict=True))
    return site


def test_every_page_is_in_the_site_and_every_link_is_right(copied: Path) -> None:
    site = site_of(copied)
    guide = {page.stem for page in (ROOT / "docs" / "guide").glob("*.md")}
    assert {page.parent.name for page in site.glob("docs/guide/*/index.html")} == guide
    assert len(list(site.glob("docs/decisions/*/index.html"))) > 80
    assert "With 60 labels of 20 species" in (site / "index.html").read_text()
    assert (site / "docs" / "readme" / "overview.png").is_file()
    nav = (site / "index.html").read_text()
    assert [name for name in sorted(guide) if f"docs/guide/{name}/" not in nav] == []


def test_a_wrong_link_stops_the_build(copied: Path) -> None:
    with (copied / "docs" / "guide" / "start.md").open("a") as page:
        page.write("\n[wrong](your-photos.md#no-such-heading)\n")
    with pytest.raises(Abort):
        site_of(copied)


def test_readme_is_short_and_has_its_first_command_soon() -> None:
    text = (ROOT / "README.md").read_text()
    before = text.partition("```bash")[0]
    assert len(before.split()) <= 200
    assert sum(line.startswith("|") for line in before.splitlines()) <= 12
    assert len(text.split()) <= 1000
    pictures = list((ROOT / "docs" / "readme").glob("*.png"))
    thumbnails = [file for file in pictures if file.name != "overview.png"]
    assert sum(file.stat().st_size for file in thumbnails) < 300_000
    assert [file.name for file in pictures if f"docs/readme/{file.name}" not in text] == []

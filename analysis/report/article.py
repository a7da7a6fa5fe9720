"""Writing the article, and whether it still says what the records say: nothing stale, missing,
mixed, edited or typed.

The PDF holds neither date nor path nor id, so the same records give the same bytes. A manifest
beside it holds what went in (a digest of every file of the runs that is read) and what came out
(line by line, so that an edit has a name).
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from operator import methodcaller
from pathlib import Path

from analysis.frame import predictions
from analysis.latency import read_rows
from analysis.reading import reading_once
from analysis.report.language import HOUSE, Language
from analysis.report.products import contents, digest
from analysis.report.sources import article_records, experiments
from birds.core.spec import UserError
from birds.core.store import write_atomically, write_text

PDF, MANIFEST, STYLE = "article.pdf", "manifest.json", "plainnat.bst"
INPUTS = (
    "record.json",
    "predictions.npz",
    "curves.csv",
    "pictures/*",
    "latent/latent.json",
    "latent/latent.npz",
)
UNDATED = {"SOURCE_DATE_EPOCH": "1", "FORCE_SOURCE_DATE": "1", "TZ": "UTC"}
PACKAGES = (
    "latexmk texlive-latex-base texlive-latex-recommended texlive-lang-spanish "
    "texlive-fonts-recommended lmodern"
)
NOT_PROSE = re.compile(
    r"(?<!\\)%.*|\\(?:val|cite|ref|label|documentclass|tab|fig)(?:\[[^]]*\])?\{[^}]*\}"
)
NUMBER = re.compile(r"(?<![A-Za-z\d])\d[\d.,]*")
FEW = 5


@reading_once()
def write_article(out: Path, runs_dir: Path, sweeps: Sequence[str], name: str) -> None:
    """Write the article of the sweeps in the language of that name, es or en, into `out`.

    Raises UserError when the records cannot carry it, or, with all but the PDF written, when there
    is no LaTeX.
    """
    language = Language(name, experiments(runs_dir, sweeps))
    files = contents(runs_dir, language)
    about = {"sweeps": list(sweeps), "language": name, "inputs": inputs(runs_dir, language)}
    for old in (out / PDF, *out.glob("tables/*.tex"), *out.glob("figures/*")):
        old.unlink(missing_ok=True)
    _write(out, files, about)
    _write(out, files | {PDF: set_by_latex(files, out, language)}, about)
    print(f"Written: {out / PDF}, and beside it its LaTeX, tables and figures")


def _write(out: Path, files: Mapping[str, bytes], about: Mapping[str, object]) -> None:
    for file, content in files.items():
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out / file, methodcaller("write", content))
    write_text(
        out / MANIFEST, json.dumps({**about, "files": list(files), "items": items(files)}, indent=0)
    )


def set_by_latex(files: Mapping[str, bytes], out: Path, language: Language) -> bytes:
    """The PDF that LaTeX makes of the files. Raises UserError when there is no LaTeX, or with its
    first complaint.
    """
    if not all(map(shutil.which, ("latexmk", "pdflatex", "kpsewhich"))):
        cure = f"apt-get install --no-install-recommends {PACKAGES}"
        raise UserError(
            f"{out} holds macros, tables and figures, but LaTeX for {PDF} is not installed:\n{cure}"
        )
    with tempfile.TemporaryDirectory() as folder:
        for file, content in {**files, STYLE: _style(language)}.items():
            (Path(folder) / file).parent.mkdir(exist_ok=True)
            (Path(folder) / file).write_bytes(content)
        command = [
            "latexmk",
            "-norc",
            "-pdf",
            "-interaction=nonstopmode",
            "-halt-on-error",
            "article.tex",
        ]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | UNDATED, capture_output=True, check=False
        )
        if done.returncode:
            said = done.stdout.decode(errors="replace").splitlines()
            why = next((line for line in said if line.startswith("!")), "latexmk failed")
            raise UserError(f"LaTeX could not set {out / 'article.tex'}: {why}")
        return (Path(folder) / PDF).read_bytes()


def _style(language: Language) -> bytes:
    """natbib's bibliography style with its words in the article's language."""
    found = subprocess.run(["kpsewhich", STYLE], capture_output=True, text=True, check=True)
    text = Path(found.stdout.strip()).read_text()
    for english, own in language.words["style"].items():
        text = text.replace(english, own)
    return text.encode()


def inputs(runs_dir: Path, language: Language) -> dict[str, str]:
    """A digest of everything in the runs folder that the article reads, by what it is."""
    keys = sorted(article_records(runs_dir, language.sweeps)["key"])
    files = [
        file
        for key in keys
        for pattern in INPUTS
        for file in sorted((runs_dir / key).glob(pattern))
    ]
    rows = read_rows(runs_dir)
    own = rows[rows["key"].isin(keys)].to_json() if len(rows) else ""
    read = {f"run {file.relative_to(runs_dir)}": digest(file.read_bytes()) for file in files}
    return read | {"latency.jsonl": digest(own.encode())}


def items(files: Mapping[str, bytes]) -> dict[str, str]:
    """What files hold, by names that tell people where: the lines of a text, with its values, or a
    figure's digest.
    """
    found = {}
    for file, content in files.items():
        lines = (
            content.decode(errors="replace").splitlines()
            if Path(file).suffix not in (".pdf", ".png")
            else []
        )
        found[file] = digest(content)
        for number, line in enumerate(lines, 1):
            value = re.search(r"\\(?:def)?val\{([^}]+)\}", line)
            found[f"{file}, line {number}" + (f" ({value[1]})" if value else "")] = line
    return found


@reading_once()
def check_article(out: Path, runs_dir: Path) -> None:
    """Compare an article with the records it was written from, and its template with the rule that
    it has no numbers.

    Raises UserError, which names what differs, unless all is as `write_article` would write it now.
    """
    try:
        manifest = json.loads((out / MANIFEST).read_text())
        wrote, read, sweeps, name = (
            manifest[word] for word in ("items", "inputs", "sweeps", "language")
        )
    except (OSError, ValueError, KeyError):
        raise UserError(f"there is no article in {out} to check; make report") from None
    language = Language(name, experiments(runs_dir, sweeps))
    there = {
        file: (out / file).read_bytes()
        for file in {*manifest["files"], PDF}
        if (out / file).exists()
    }
    changed = differences(read, inputs(runs_dir, language), "as it was read")
    found = [*numbers(language), *untrue(runs_dir, language), *changed]
    found += differences(wrote, items(there), "as it was written")
    if not found:
        now = items(contents(runs_dir, language)) | {
            file: wrote[file] for file in {PDF} & wrote.keys()
        }
        found = list(differences(wrote, now, "what the records say now"))
    if found:
        more = f" and {len(found) - FEW} more" if len(found) > FEW else ""
        cure = "where the records are right, make report writes it anew"
        raise UserError(f"{'; '.join(found[:FEW])}{more}\n{cure}")
    print(f"{out / PDF} says what the records say")


def differences(old: Mapping[str, str], new: Mapping[str, str], what: str) -> Iterator[str]:
    """The names of what is not alike, records first; a file's own name comes after what in it
    differs.
    """
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    for name in sorted(
        names, key=lambda name: ("(" not in name, "line" not in name, "/record.json" not in name)
    ):
        if name not in new:
            yield f"{name} is gone"
        else:
            yield f"{name} is new" if name not in old else f"{name} is not {what}"


def numbers(language: Language) -> Iterator[str]:
    """Numbers that somebody typed into the template: they would stay when the records change."""
    for number, line in enumerate(language.template.splitlines(), 1):
        place = f"{HOUSE.name}/article_{language.name}.tex, line {number}"
        for match in NUMBER.finditer(NOT_PROSE.sub("", line)):
            yield f"{place}: {match[0]} is typed; write \\val{{...}}"


def untrue(runs_dir: Path, language: Language) -> Iterator[str]:
    """Records whose accuracy is not that of the predictions beside them."""
    for row in article_records(runs_dir, language.sweeps).to_dict("records"):
        saved = (
            predictions(runs_dir, row["key"], "test_logits", "test_label")
            if row["stage"] == "classify"
            else None
        )
        if saved is not None:
            right = float((saved[0].argmax(1) == saved[1]).mean())
            if abs(right - row["test_accuracy"]) > 1e-6:
                said = f"its record says {row['test_accuracy']:.4f}, its predictions {right:.4f}"
                yield f"run {row['key']}: {said}"

"""The page: a template, its content as JSON, and plotly.js, in one file that works without a
network.

Values from records are inserted as JSON and shown as text by the script, never as HTML. Plotly's
package has only the full bundle (4.8 MB). It is read after the first paint, so that tables and
filters do not wait for it.
"""

import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from analysis.dashboard.content import content
from birds.core.store import write_text


def page(shown: Mapping[str, Any]) -> str:
    """The whole page for the values from `content`."""
    parts = {
        "title": html.escape(str(shown["sweep"])),
        "content": as_json(shown),
        "plotly": get_plotlyjs(),
    }
    template = resources.files(__package__).joinpath("template.html").read_text()
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)


def as_json(shown: Mapping[str, Any]) -> str:
    """JSON that is safe inside a script element, whatever its strings contain."""
    return json.dumps(shown, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def write_page(runs_dir: Path, sweep: str, out: Path | None = None) -> Path:
    """Write a sweep's page; returns its file (default: `RUNS_DIR/dashboard/SWEEP.html`).

    Raises UserError if the sweep does not exist.
    """
    file = out or runs_dir / "dashboard" / f"{sweep}.html"
    text = page(content(runs_dir, sweep))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)
    return file

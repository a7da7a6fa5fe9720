"""Names of timed runs: the encoder is named where runs with several encoders were timed."""

from pathlib import Path

import pandas as pd
import pytest
from made_up import finish, spec

from analysis.latency import append_rows, latency_table
from analysis.pareto import pareto_figure

RACE = {"machine": "1", "cpu": "Xeon", "device": "cpu", "threads": 1, "batch": 1, "time": 1e9}


def timed(runs_dir: Path, encoders: tuple[str, ...]) -> pd.DataFrame:
    for place, encoder in enumerate(encoders):
        made = spec("variant=A", f"encoder={encoder}")
        key = finish(runs_dir, made, test_accuracy=0.5, test_macro_f1=0.5)
        about = {"key": key, "variant": "A", "split": 90, "seed": 0, "images_test": 100}
        for number, model in enumerate(("fp32", "int8")):
            measured = {"median_ms": 1.0 + place + 3 * number, "bytes": 1e6 * (1 + number)}
            own = {"model": model, "baseline": model == "fp32", "test_accuracy": 0.3 + 0.4 * place}
            append_rows(runs_dir, [RACE | about | measured | own])
    return latency_table(runs_dir)


@pytest.mark.parametrize(
    ("encoders", "names"),
    [
        (("unet_s",), {"A 90/10 seed 0"}),
        (("unet_s", "unet_m"), {"A unet_s 90/10 seed 0", "A unet_m 90/10 seed 0"}),
    ],
)
def test_encoders_are_named_where_they_differ(
    tmp_path: Path, encoders: tuple[str, ...], names: set[str]
) -> None:
    table = timed(tmp_path, encoders)
    assert set(table["run"]) == names
    figure = pareto_figure(table)
    figure.canvas.draw()
    for axes in figure.axes[:2]:
        shown = [text for text in axes.texts if text.get_text() in names]
        assert {text.get_text() for text in shown} == names
        for text in shown:
            box = text.get_window_extent()
            assert axes.bbox.x0 <= box.x0
            assert box.x1 <= axes.bbox.x1

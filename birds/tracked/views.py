"""A sweep's dashboard as code: a workspace view for each stage and a report, in the words that runs log.

The sweep is a filter on the runs' ids, since a run may belong to several sweeps; the stage is the job type; the family
(runs that differ in their seed alone) is W&B's group. A panel is made only where a run logged what it shows.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from birds.store import write_text

STAGES = {"classify": ("classifiers", "variant"), "pretrain": ("pretraining", "pretext.name")}
BARS = {
    "classify": {
        "Test accuracy": "test_accuracy",
        "Validation accuracy": "valid_accuracy",
        "Macro F1": "test_macro_f1",
    },
    "pretrain": {"Restored (SSIM)": "test_ssim", "Restored without skips (SSIM)": "test_without_skips_ssim"},
}
STEP = "trainer/global_step"
LINES = (  # title, x, y
    ("Loss", STEP, ["train_loss", "valid_loss"]),
    ("Validation accuracy while training", STEP, ["valid_accuracy"]),
    ("Test accuracy under salt and pepper", "robustness/noise", ["robustness/accuracy"]),
)


def panels(stage: str, logged: Collection[str]) -> list[Any]:
    """The panels of a stage that show something, given the names that its runs logged. They group as their runs do."""
    bars = [wr.BarPlot(title=title, metrics=[name]) for title, name in BARS[stage].items() if name in logged]
    lines = [wr.LinePlot(title=title, x=x, y=y) for title, x, y in LINES if {x, *y} <= set(logged)]
    pictures = [wr.MediaBrowser(title="Reconstructions", media_keys=["reconstructions"])]
    return [*bars, *lines, *(pictures if "reconstructions" in logged else [])]


def views(sweep: str, keys: Sequence[str], logged: dict[str, set[str]], entity: str, project: str) -> list[Any]:
    """A workspace view for each stage, grouped by variant, split and family."""
    return [
        ws.Workspace(
            entity=entity,
            project=project,
            name=f"{sweep}: {STAGES[stage][0]}",
            sections=[ws.Section(name=STAGES[stage][0], panels=panels(stage, logged[stage]), is_open=True)],
            runset_settings=ws.RunsetSettings(
                filters=_of(keys, stage),
                groupby=[ws.Config(STAGES[stage][1]), ws.Config("split"), ws.Metric("Group")],
            ),
        )
        for stage in STAGES
        if logged.get(stage)
    ]


def report(
    sweep: str, keys: Sequence[str], logged: dict[str, set[str]], splits: Sequence[int], entity: str, project: str
) -> Any:
    """The report: classifiers beside each other at every split, what they stand on, and latencies where logged."""
    blocks: list[Any] = [wr.TableOfContents()]
    for stage in (stage for stage in STAGES if logged.get(stage)):
        title, what = STAGES[stage]
        sets = [
            wr.Runset(
                name=f"split {split}",
                filters=[*_of(keys, stage), ws.Config("split") == split],
                groupby=[f"config.{what}", "group"],
            )
            for split in splits
        ]
        blocks += [wr.H1(title.capitalize()), wr.PanelGrid(runsets=sets, panels=panels(stage, logged[stage]))]
    if "latency" in logged.get("table", ()):
        table = wr.Runset(name="latency", filters=[ws.Metric("Group") == "latency", ws.Metric("JobType") == "table"])
        blocks += [wr.H1("Latency"), wr.PanelGrid([table], panels=[wr.WeavePanelSummaryTable(table_name="latency")])]
    about = f"Sweep {sweep}: {len(keys)} runs, from their records in W&B; the records in the run folders are the truth."
    return wr.Report(project=project, entity=entity, title=f"Sweep {sweep}", description=about, blocks=blocks)


def _of(keys: Sequence[str], stage: str) -> list[Any]:
    return [ws.Metric("ID").isin(list(keys)), ws.Metric("JobType") == stage]


def write_views(file: Path, made: Sequence[Any], *, save: str | None) -> None:
    """Write views and report into `file` as JSON; `save` names the place on W&B where they are saved first, if any.

    What was saved at that place before is replaced. Raises pydantic.ValidationError when W&B's own model refuses one.
    """
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(file.read_text())
    known = before.get("views", []) if save and before.get("saved") == save else []
    for one, old in zip(made, known, strict=False):
        if isinstance(one, ws.Workspace):
            one._internal_id, one._internal_name = old["id"], old["name"]
        else:
            one.id = old["id"]
    models = []
    for one in made:
        if save:
            one.save()
        model = one._to_model()
        text = model.model_dump_json(by_alias=True, exclude_none=True)
        models.append(type(model).model_validate_json(text).model_dump(mode="json", by_alias=True, exclude_none=True))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps({"saved": save, "views": models}, indent=1))

"""Defines a sweep's W&B dashboard in code: a workspace view for each stage, and a report.

The sweep is a filter on the runs' ids, because a run may belong to several sweeps. The stage is the
job type, and the family (runs that differ only in the seed) is W&B's group. A panel is made only if
a run logged its values.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
import yaml

from birds.core.store import write_text

PANELS = Path(__file__).with_name("panels.yaml")


def panels(stage: Mapping[str, Any], logged: Collection[str]) -> list[Any]:
    """The panels of a stage, for those values that its runs logged.

    They are grouped as the runs are.
    """
    bars = [
        wr.BarPlot(title=title, metrics=[name])
        for title, name in stage["bars"].items()
        if name in logged
    ]
    lines = [
        wr.LinePlot(title=title, x=x, y=y)
        for title, (x, *y) in stage["lines"].items()
        if {x, *y} <= set(logged)
    ]
    return (
        bars
        + lines
        + [wr.MediaBrowser(title=n, media_keys=[n]) for n in stage.get("media", ()) if n in logged]
    )


def views(
    sweep: str,
    keys: Sequence[str],
    splits: Sequence[int],
    logged: Mapping[str, Collection[str]],
    where: dict[str, str],
) -> list[Any]:
    """A workspace view for each stage that logged something, and a report over them.

    `where` holds entity and project.
    """
    made, blocks = [], []
    for stage, choices in yaml.safe_load(PANELS.read_text()).items():
        if shown := panels(choices, logged.get(stage, ())):
            title, by = choices["title"], choices["by"]
            of = [ws.Metric("ID").isin(list(keys)), ws.Metric("JobType") == stage]
            runs = ws.RunsetSettings(
                filters=of, groupby=[ws.Config(by), ws.Config("split"), ws.Metric("Group")]
            )
            section = ws.Section(name=title, panels=shown, is_open=True)
            made.append(
                ws.Workspace(
                    name=f"{sweep}: {title}", sections=[section], runset_settings=runs, **where
                )
            )
            names = {f"split {split}": [*of, ws.Config("split") == split] for split in splits}
            sets = [
                wr.Runset(name=n, filters=those, groupby=[f"config.{by}", "group"])
                for n, those in names.items()
            ]
            blocks += [wr.H1(title.capitalize()), wr.PanelGrid(runsets=sets, panels=shown)]
    if "latency" in logged.get("table", ()):
        rows = wr.Runset(
            name="latency",
            filters=[ws.Metric("Group") == "latency", ws.Metric("JobType") == "table"],
        )
        panel = wr.WeavePanelSummaryTable(table_name="latency")
        blocks += [wr.H1("Latency"), wr.PanelGrid(runsets=[rows], panels=[panel])]
    return [*made, wr.Report(title=f"Sweep {sweep}", blocks=blocks, **where)]


def write_views(file: Path, made: Sequence[Any], *, save: str | None) -> None:
    """Write views and report into `file` as JSON.

    `save` names the place on W&B where they are saved first, if any; views saved there before are
    replaced. Raises pydantic.ValidationError when W&B's own model rejects one.
    """
    before = json.loads(file.read_text()) if file.exists() else {}
    known = before["views"] if save and before.get("saved") == save else []
    models = []
    for number, one in enumerate(made):
        if number < len(known):  # the client's names for the id of a saved view
            ids = {
                "id": known[number]["id"],
                "_internal_id": known[number]["id"],
                "_internal_name": known[number]["name"],
            }
            vars(one).update({name: value for name, value in ids.items() if hasattr(one, name)})
        model = (one.save() if save else one)._to_model()
        text = model.model_dump_json(by_alias=True, exclude_none=True)
        models.append(
            type(model)
            .model_validate_json(text)
            .model_dump(mode="json", by_alias=True, exclude_none=True)
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps({"saved": save, "views": models}, indent=1))

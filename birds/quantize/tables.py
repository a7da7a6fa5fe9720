"""The table of models: what each reaches on the test part, and what its twin costs against fp32."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.markdown import markdown
from birds.quantize.models import Model

HEAD = [
    "model", "backend", "MB", "accuracy %", "macro F1 %", "points against fp32", "agreement %", "flips", "McNemar p",
    "layers in float",
]  # fmt: skip


def models_table(models: Sequence[Model]) -> str:
    """The models as a Markdown table, in the order given."""
    return markdown(HEAD, [_row(model) for model in models])


def _row(model: Model) -> list[str]:
    reached = [f"{100 * value:.1f}" for value in (model.test_accuracy, model.test_macro_f1)]
    shown = [model.title, model.backend, f"{model.bytes / 1e6:.2f}", *reached]
    twin, kept = model.measured.get("against_fp32"), model.measured.get("kept_in_float")
    if twin is None:
        return [*shown, "", "", "", "", ""]
    change, low, high = (100 * twin[f"accuracy_difference{end}"] for end in ("", "_low", "_high"))
    against = [f"{change:+.1f} [{low:+.1f}, {high:+.1f}]", f"{100 * twin['agreement']:.1f}", str(len(twin["flips"]))]
    return [*shown, *against, f"{twin['mcnemar_p']:.2g}", "" if kept is None else str(len(kept))]


def notes(models: Sequence[Model]) -> str:
    """What to know beside the table: what the numbers are over, what stays in float, which variants do not exist."""
    ints = [model for model in models if model.precision == "int8"]
    floats = sorted({operation for model in ints for operation in model.measured["float_operations"]})
    lines = [
        f"Over the {ints[0].measured['against_fp32']['photos']} test photos. In brackets: 95 % interval of the "
        "difference, paired over photos; McNemar's exact test; flips are photos whose likeliest species changed "
        "(listed in the JSON).",
        f"Left in float inside int8: {', '.join(floats) or 'nothing'}.",
        *sorted({f"{model.measured['absent']}." for model in models}),
    ]
    seen = "the test photos decided which layers stay in float, so its test accuracy is no unseen one."
    return "\n".join(lines + [f"{m.title}: {seen}" for m in ints if "test" in m.measured["decided_on"]])

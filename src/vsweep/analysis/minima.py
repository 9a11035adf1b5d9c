"""Describe where trials that minimize a function ended: at which minimum, or why at none."""

import pandas as pd

AWAY, MOVING = "went to infinity", "not settled"
_MOST_PLACES = 8
_STATIONARY = ("saddle", "maximum")


def is_function(trials: pd.DataFrame) -> bool:
    """Return whether the trials of a table minimize functions."""
    return "kind" in trials.columns and "minimum" in trials.columns


def ending_labels(trials: pd.DataFrame) -> pd.Series:
    """Label where each trial ended: a minimum, another kind of stationary point, or none."""
    labels = trials["minimum"].astype(object).where(trials["minimum"].notna(), None)
    kind = trials["kind"].astype(object).where(trials["kind"].notna(), MOVING)
    # A minimum has no label where the function is flat or the trial ended too far from it.
    labels = labels.where(labels.notna(), kind.replace({"minimum": MOVING, "flat": "a flat place"}))
    return labels.where(trials["status"] == "ok", AWAY).astype(str)


def describe_ends(trials: pd.DataFrame) -> str:
    """Describe how many trials ended where, most first; return nothing if they minimized no function."""
    if not is_function(trials):
        return ""
    groups = trials.groupby("loss", sort=False) if "loss" in trials.columns else [("", trials)]
    lines = ["where they ended:"]
    for name, group in groups:
        counts = ending_labels(group).value_counts()
        parts = [f"{count:,} {_at(str(label))}" for label, count in counts.head(_MOST_PLACES).items()]
        if len(counts) > _MOST_PLACES:
            parts.append(f"{counts.iloc[_MOST_PLACES:].sum():,} elsewhere")
        lines.append((f"  {name!s}: " if name else "  ") + ", ".join(parts))
    return "\n".join(lines)


def _at(label: str) -> str:
    return f"at the minimum {label}" if "=" in label else f"at a {label}" if label in _STATIONARY else label

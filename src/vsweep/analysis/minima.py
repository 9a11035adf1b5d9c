"""Where descents of a function ended, in words: which minimum, or why none."""

import pandas as pd

AWAY, MOVING = "left for infinity", "not settled"
# Places that are told apart in a line.
_MOST = 8
_OTHERS = ("saddle", "maximum")


def is_function(trials: pd.DataFrame) -> bool:
    """Whether a table's trials went down functions."""
    return "kind" in trials.columns and "minimum" in trials.columns


def ending_labels(trials: pd.DataFrame) -> pd.Series:
    """Of each trial its minimum by name, another kind of stationary point, or that it is at none."""
    ended = trials["minimum"].astype(object).where(trials["minimum"].notna(), None)
    kind = trials["kind"].astype(object).where(trials["kind"].notna(), MOVING)
    # A minimum without a place: it is flat there, or far from where the trial ended.
    ended = ended.where(ended.notna(), kind.replace({"minimum": MOVING, "flat": "a flat place"}))
    return ended.where(trials["status"] == "ok", AWAY).astype(str)


def describe_endings(trials: pd.DataFrame) -> str:
    """How many trials ended where, the most first; empty text where they went down no function."""
    if not is_function(trials):
        return ""
    groups = trials.groupby("loss", sort=False) if "loss" in trials.columns else [("", trials)]
    lines = []
    for name, part in groups:
        counts = ending_labels(part).value_counts()
        shown = [f"{count:,} {_at(str(place))}" for place, count in counts.head(_MOST).items()]
        more = [f"{counts.iloc[_MOST:].sum():,} elsewhere"] if len(counts) > _MOST else []
        lines.append((f"{name!s}: " if name else "") + ", ".join([*shown, *more]))
    return "\n".join(["where they ended:", *(f"  {line}" for line in lines)])


def _at(place: str) -> str:
    return f"at the minimum {place}" if "=" in place else f"at a {place}" if place in _OTHERS else place

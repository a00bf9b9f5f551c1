"""Merge the bars of two sources: bars are added, agree, or are in dispute.

A stored bar never changes by itself. Another source either agrees, and its name is added to `source`, or it disagrees.
Only an import by a person with `replace` overwrites a stored bar.

No source disputes a bar that a person brought so: all of them get the mark `USER_PROVIDED`. Those that changed a stored
bar or ended a dispute are `CONFIRMED` instead. That is a stronger mark: `osiris.market.timeline` raises no data issue
about them, because the person has looked at these bars. Nobody says that about the rest of the file.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import numpy as np
import pandas as pd

from osiris.core.errors import BadInput
from osiris.market.calendars import DAILY, FRAME_COLUMNS, PRICE_COLUMNS, session_day

SOURCE_TOLERANCE = 0.02
"""Largest relative difference of two sources' prices that counts as agreement, unless the caller says otherwise."""
CONFIRMED, USER_PROVIDED = "confirmed", "given"
"""Marks among the sources of a bar: a person confirmed it, or a person brought it."""
COMPARED_COLUMNS = [*PRICE_COLUMNS, "volume", "split"]


@dataclass(frozen=True)
class Disagreement:
    """Two sources on one bar: the column with the largest difference, the value that was kept, and the one offered."""

    start: datetime
    column: str
    kept: float
    offered: float
    kept_source: str
    offered_source: str
    interval: str = DAILY

    def describe(self, calendar: str) -> str:
        """Describe it on one line, by the exchange's day."""
        length = "" if self.interval == DAILY else f" ({self.interval} bar of {self.start:%H:%M})"
        return (
            f"{session_day(calendar, self.start)}{length}: {self.kept_source} {self.column} {self.kept:g}, "
            f"{self.offered_source} {self.column} {self.offered:g}"
        )


@dataclass(frozen=True)
class MergeResult:
    """The counts of a merge: of the bars `offered`, those `added`, `changed` (with replace) and `dropped` for NaN.

    `disagreements` were not written. `moved_to` is the new name of a stored file that could not be read.
    """

    added: int = 0
    changed: int = 0
    dropped: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    moved_to: str = ""
    offered: int = 0


def validate_bars(frame: pd.DataFrame) -> pd.DataFrame:
    """The bars without those of NaN prices, sorted; raises `BadInput` for another format or repeated starts."""
    if tuple(frame.columns) != FRAME_COLUMNS or any(str(frame[c].dt.tz) != "UTC" for c in ("start", "end")):
        raise BadInput(
            f"bars with the columns {FRAME_COLUMNS}, start and end in UTC", f"{dict(frame.dtypes)}", "correct them"
        )
    usable = cast_types(frame)  # below, a copy is made only where it is needed: a ticker may have millions of bars
    finite = np.logical_and.reduce([np.isfinite(usable[name].to_numpy()) for name in PRICE_COLUMNS])
    if not finite.all():
        usable = usable[finite]
    if not usable["start"].is_monotonic_increasing:
        usable = usable.sort_values("start")
    usable = usable.reset_index(drop=True)
    if usable["start"].duplicated().any():
        twice = usable.loc[usable["start"].duplicated(), "start"].iloc[0]
        raise BadInput("one bar a start", f"two for {twice.isoformat()}", "remove one of them")
    return usable


def cast_types(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the column types of all frames of bars; DuckDB, Yahoo and files give others."""
    numbers = dict.fromkeys((*PRICE_COLUMNS, "volume", "split"), np.float64)
    return frame.astype({"start": "datetime64[us, UTC]", "end": "datetime64[us, UTC]", "source": "str", **numbers})


def combine(
    stored: pd.DataFrame,
    offered: pd.DataFrame,
    tolerance: float,
    replace: bool,
    interval: str = DAILY,
    disputed: Collection[datetime] = (),
) -> tuple[pd.DataFrame, MergeResult]:
    """Both frames as one, by the rules at the top of this module, and the counts; `disputed` are starts of bars."""
    if stored.empty:  # a first import needs no further copies of it
        if replace:
            offered, settled = offered.copy(), offered["start"].isin(list(disputed))
            offered.loc[settled, "source"] = _add_mark(offered.loc[settled, "source"], CONFIRMED)
            offered["source"] = _add_mark(offered["source"], USER_PROVIDED)
        return offered, MergeResult(len(offered))
    kept, new = stored.set_index("start"), offered.set_index("start")
    both = kept.index.intersection(new.index)
    mine, theirs = kept.loc[both], new.loc[both]
    added = len(new) - len(both)
    # `differing` marks, among the bars of both frames, those that need more than another name in `source`: with replace
    # the offered bar takes their place, without it they are in dispute.
    if replace:
        changed = (mine[COMPARED_COLUMNS] != theirs[COMPARED_COLUMNS]).any(axis=1)
        differing = changed | theirs.index.isin(disputed)
        merged = MergeResult(added, int(changed.sum()))
    else:
        apart = _relative_distance(mine, theirs)
        differing = (apart > tolerance).any(axis=1) & ~_has_mark(mine["source"], CONFIRMED, USER_PROVIDED)
        merged = MergeResult(
            added, disagreements=_disagreements(mine[differing], theirs[differing], apart[differing], interval)
        )
    pairs = zip(mine["source"][~differing], theirs["source"][~differing], strict=True)
    kept.loc[both[~differing], "source"] = [join_sources(a, b) for a, b in pairs]
    fresh = new.drop(both)
    if replace:
        kept.loc[both[~differing], "source"] = _add_mark(kept.loc[both[~differing], "source"], USER_PROVIDED)
        fresh["source"] = _add_mark(fresh["source"], USER_PROVIDED)
        corrected = theirs[differing]
        corrected = corrected.assign(source=_add_mark(corrected["source"], CONFIRMED))
        kept = pd.concat([kept.drop(corrected.index), corrected])
    combined = pd.concat([kept, fresh])
    return combined.sort_index().reset_index()[list(FRAME_COLUMNS)], merged


def is_confirmed(sources: pd.Series) -> pd.Series:
    """Mask of the bars that a person confirmed, by their sources."""
    return _has_mark(sources, CONFIRMED)


def _has_mark(sources: pd.Series, *marks: str) -> pd.Series:
    codes, names = pd.factorize(sources)  # millions of bars have a handful of different sources
    marked = np.array([not set(marks).isdisjoint(name.split("+")) for name in names], np.bool_)
    return pd.Series(marked[codes] if len(names) else np.zeros(len(sources), np.bool_), sources.index)


def _add_mark(sources: pd.Series, mark: str) -> pd.Series:
    """The sources with a mark; a confirmed bar gets no other."""
    return sources.map(lambda names: names if CONFIRMED in names.split("+") else join_sources(names, mark)).astype(
        "str"
    )


def join_sources(sources: str, another: str) -> str:
    """The names of a bar's sources, such as `yahoo+file:aapl.csv`, and `another`, unless it is one of them."""
    return sources if another in sources.split("+") else f"{sources}+{another}"


def _relative_distance(mine: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Relative distance of the prices; that of the splits is 0 if they are the same and infinite if not."""
    prices = ["close", "high", "low", "open"]
    apart = (theirs[prices] / mine[prices] - 1).abs()
    same = np.isclose(theirs["split"], mine["split"], rtol=1e-6)
    return apart.assign(split=np.where(same, 0.0, np.inf))


def _disagreements(mine: pd.DataFrame, theirs: pd.DataFrame, apart: pd.DataFrame, interval: str) -> list[Disagreement]:
    if not len(apart):
        return []
    furthest = apart.idxmax(axis=1)
    found = []
    for moment, name in zip(furthest.index, furthest, strict=True):
        start, column = cast("pd.Timestamp", moment), str(name)
        found.append(
            Disagreement(
                start.to_pydatetime(),
                column,
                float(cast("float", mine.at[start, column])),
                float(cast("float", theirs.at[start, column])),
                str(mine.at[start, "source"]),
                str(theirs.at[start, "source"]),
                interval,
            )
        )
    return found

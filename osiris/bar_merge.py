"""Two sources on the same bars: what is added, what is confirmed, and what is in dispute.

A stored bar never changes by itself. Another source either confirms it (its name is added to `source`) or disagrees;
only a person's word (`replace`) overwrites, and then stands: no source disputes a bar marked `CONFIRMED`.
"""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd

from osiris.calendars import COLUMNS, PRICE_COLUMNS
from osiris.errors import BadInput

SAME_PRICE = 0.02
"""Largest relative difference of two sources' closes that counts as agreement, unless the caller says otherwise."""
CONFIRMED = "confirmed"
"""Stands among the sources of a bar that a person spoke for."""
COMPARED = [*PRICE_COLUMNS, "volume", "split"]


@dataclass(frozen=True)
class Disagreement:
    """Two sources on one bar: the stored close and split, which were kept, and those offered."""

    start: datetime
    kept_close: float
    kept_split: float
    kept_source: str
    offered_close: float
    offered_split: float
    offered_source: str

    def __str__(self) -> str:
        """Describe it on one line."""
        return (
            f"{self.start:%Y-%m-%d}: {self.kept_source} close {self.kept_close:g} split {self.kept_split:g}, "
            f"{self.offered_source} close {self.offered_close:g} split {self.offered_split:g}"
        )


@dataclass(frozen=True)
class Merged:
    """What a merge did: bars `added` or, with replace, `changed`; `dropped` for NaN; `disagreements` not written."""

    added: int = 0
    changed: int = 0
    dropped: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)


def checked(frame: pd.DataFrame) -> pd.DataFrame:
    """The bars without those of NaN prices, sorted; raises `BadInput` for another format or repeated starts."""
    if tuple(frame.columns) != COLUMNS or any(str(frame[c].dt.tz) != "UTC" for c in ("start", "end")):
        raise BadInput(
            f"bars with the columns {COLUMNS}, start and end in UTC", f"{dict(frame.dtypes)}", "correct them"
        )
    usable = frame[np.isfinite(frame[list(PRICE_COLUMNS)]).all(axis=1)].sort_values("start", ignore_index=True)
    if usable["start"].duplicated().any():
        twice = usable.loc[usable["start"].duplicated(), "start"].iloc[0]
        raise BadInput("one bar a start", f"two for {twice.isoformat()}", "remove one of them")
    return typed(usable)


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the one set of types, whichever library it came from."""
    numbers = dict.fromkeys((*PRICE_COLUMNS, "volume", "split"), np.float64)
    return frame.astype({"start": "datetime64[us, UTC]", "end": "datetime64[us, UTC]", "source": "str", **numbers})


def combine(
    stored: pd.DataFrame, offered: pd.DataFrame, tolerance: float, replace: bool
) -> tuple[pd.DataFrame, Merged]:
    """Both frames as one, by the rules of the module's head, and what was done."""
    kept, new = stored.set_index("start"), offered.set_index("start")
    both = kept.index.intersection(new.index)
    mine, theirs = kept.loc[both], new.loc[both]
    if replace:
        changed = (mine[COMPARED] != theirs[COMPARED]).any(axis=1)
        spoken = new.loc[both].assign(source=[joined(name, CONFIRMED) for name in theirs["source"]])
        combined = pd.concat([kept.drop(both), new.drop(both), spoken])
        merged = Merged(len(new) - len(both), int(changed.sum()))
    else:
        apart = (theirs["close"] / mine["close"] - 1).abs() > tolerance
        apart |= ~np.isclose(theirs["split"], mine["split"], rtol=1e-6)
        apart &= ~mine["source"].str.split("+").map(lambda names: CONFIRMED in names).astype(bool)
        pairs = zip(mine["source"][~apart], theirs["source"][~apart], strict=True)
        kept.loc[both[~apart], "source"] = [joined(a, b) for a, b in pairs]
        combined = pd.concat([kept, new.drop(both)])
        merged = Merged(len(new) - len(both), disagreements=_described(mine[apart], theirs[apart]))
    return combined.sort_index().reset_index()[list(COLUMNS)], merged


def joined(sources: str, another: str) -> str:
    """The names of a bar's sources with `another`, each once, such as `yahoo+file:aapl.csv`."""
    return sources if another in sources.split("+") else f"{sources}+{another}"


def _described(mine: pd.DataFrame, theirs: pd.DataFrame) -> list[Disagreement]:
    columns = ["close", "split", "source"]
    rows = zip(mine[columns].itertuples(), theirs[columns].itertuples(index=False), strict=True)
    return [Disagreement(kept.Index.to_pydatetime(), *kept[1:], *offered) for kept, offered in rows]

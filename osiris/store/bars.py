"""Daily bars on disk: one Parquet file a ticker, queried through an in-memory DuckDB.

A stored bar is complete and never changes: a second source either confirms it (its name is added to `source`) or
disagrees, which `merge` returns for the caller to flag; only `replace=True`, a person's word, overwrites. The format of
the frames is that of `osiris.calendars`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from osiris.calendars import COLUMNS, PRICE_COLUMNS
from osiris.errors import BadInput, NoPrices, WorkspaceError
from osiris.files import sync
from osiris.records import ticker_symbol

SAME_PRICE = 0.02
"""Largest relative difference of two sources' closes that counts as agreement, unless the caller says otherwise."""
SPLIT_RATIOS = np.array([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 50])
OPEN_NEAR, CLOSE_NEAR = 0.05, 0.15


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


@dataclass(frozen=True)
class Coverage:
    """What the store has of a ticker."""

    ticker: str
    bars: int
    first: datetime
    last: datetime
    splits: int
    sources: list[str]


def known_at(frame: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """The bars that were complete at `as_of` (end <= as_of), reindexed from 0."""
    return frame[frame["end"] <= pd.Timestamp(as_of)].reset_index(drop=True)


def cumulative_split(frame: pd.DataFrame) -> np.ndarray:
    """What one share held before the first bar has become at each bar, shape (n,), its own split included."""
    return frame["split"].to_numpy(np.float64).cumprod()


def rebased(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy with all prices and volumes in the basis of the last bar; `split` still tells what was applied.

    price_t * cum_t / cum_last and volume_t * cum_last / cum_t, with cum the `cumulative_split`.
    """
    basis = frame.copy()
    if len(basis):
        cumulative = cumulative_split(frame)
        factor = cumulative / cumulative[-1]
        for column in PRICE_COLUMNS:
            basis[column] = basis[column] * factor
        basis["volume"] = basis["volume"] / factor
    return basis


def suspicious_jumps(frame: pd.DataFrame) -> pd.DataFrame:
    """Bars that look like a split nobody recorded: `start`, `ratio` (close before / close), `split`.

    Recorded splits taken out, the close before is within 5 % of a usual split ratio (1.5, 2, 3, ... 50, or its inverse)
    times the open, and within 15 % of it times the close. A crash to a half is one of them too: a person decides.
    """
    basis = rebased(frame)
    previous = basis["close"].shift().to_numpy()
    by_close, by_open = previous / basis["close"].to_numpy(), previous / basis["open"].to_numpy()
    near = _near_split(by_open, OPEN_NEAR) & _near_split(by_close, CLOSE_NEAR)
    return pd.DataFrame({"start": frame["start"], "ratio": by_close, "split": frame["split"]})[near]


def _near_split(ratio: np.ndarray, within: float) -> np.ndarray:
    size = np.maximum(ratio, 1 / ratio)
    return (np.abs(size[:, None] / SPLIT_RATIOS - 1) <= within).any(axis=1)


class BarStore:
    """The Parquet files under `folder` (`data/bars`); safe for several processes at once."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`; it is made on the first write."""
        self._folder = Path(folder) / "daily"
        self._connection = None

    def tickers(self) -> list[str]:
        """All tickers with bars, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.parquet"))

    def get(self, ticker: str, start: datetime | None = None, end: datetime | None = None) -> pd.DataFrame:
        """Bars that began at or after `start` and were complete at or before `end`; may be empty.

        Raises `NoPrices` for a ticker the store has nothing of.
        """
        path = self._path(ticker)
        if not path.exists():
            raise NoPrices(
                f"bars of {path.stem} in {self._folder}",
                "none",
                f"run: osiris prices import FILE, or: osiris prices update {path.stem}",
            )
        return self._query(path, start, end)

    def get_many(
        self, tickers: Iterable[str], start: datetime | None = None, end: datetime | None = None
    ) -> dict[str, pd.DataFrame]:
        """`get` for several tickers; raises `NoPrices` for the first that is unknown."""
        return {ticker: self.get(ticker, start, end) for ticker in tickers}

    def coverage(self, ticker: str) -> Coverage:
        """How many bars of `ticker` there are, from when to when, from which sources."""
        frame = self.get(ticker)
        names = {name for joined in frame["source"].unique() for name in joined.split("+")}
        first, last = frame["start"].iloc[0].to_pydatetime(), frame["end"].iloc[-1].to_pydatetime()
        return Coverage(ticker, len(frame), first, last, int((frame["split"] != 1).sum()), sorted(names))

    def merge(
        self, ticker: str, frame: pd.DataFrame, tolerance: float = SAME_PRICE, *, replace: bool = False
    ) -> Merged:
        """Add the bars of `frame` that are not stored yet; see the module's head for those that are.

        Bars with NaN prices are dropped. Raises `BadInput` for another format or repeated starts, `WorkspaceError` when
        the folder cannot be written.
        """
        path = self._path(ticker)
        offered = _checked(frame)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                stored = self._query(path) if path.exists() else offered.iloc[:0]
                combined, merged = _combine(stored, offered, tolerance, replace)
                if not combined.equals(stored):
                    _write(combined, path)
        except OSError as error:
            raise WorkspaceError(
                f"a folder for bars that can be written, {self._folder}", str(error), "free space, or change its rights"
            ) from error
        return Merged(merged.added, merged.changed, len(frame) - len(offered), merged.disagreements)

    def _path(self, ticker: str) -> Path:
        return self._folder / f"{ticker_symbol(ticker)}.parquet"

    def _query(self, path: Path, start: datetime | None = None, end: datetime | None = None) -> pd.DataFrame:
        query = f"""
            SELECT {", ".join(f'"{column}"' for column in COLUMNS)} FROM read_parquet($1)
            WHERE ($2::TIMESTAMPTZ IS NULL OR "start" >= $2) AND ($3::TIMESTAMPTZ IS NULL OR "end" <= $3)
            ORDER BY "start" """
        return _typed(self._cursor().sql(query, params=[str(path), start, end]).to_arrow_table().to_pandas())

    def _cursor(self):
        if self._connection is None:
            import duckdb

            self._connection = duckdb.connect(":memory:", config={"threads": 1})
            self._connection.execute("SET TimeZone = 'UTC'")
        return self._connection.cursor()


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    if tuple(frame.columns) != COLUMNS or any(str(frame[c].dt.tz) != "UTC" for c in ("start", "end")):
        raise BadInput(
            f"bars with the columns {COLUMNS}, start and end in UTC", f"{dict(frame.dtypes)}", "correct them"
        )
    usable = frame[np.isfinite(frame[list(PRICE_COLUMNS)]).all(axis=1)].sort_values("start", ignore_index=True)
    if usable["start"].duplicated().any():
        twice = usable.loc[usable["start"].duplicated(), "start"].iloc[0]
        raise BadInput("one bar a start", f"two for {twice.isoformat()}", "remove one of them")
    return _typed(usable)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the one set of types, whichever library it came from."""
    numbers = dict.fromkeys((*PRICE_COLUMNS, "volume", "split"), np.float64)
    return frame.astype({"start": "datetime64[us, UTC]", "end": "datetime64[us, UTC]", "source": "str", **numbers})


def _combine(
    stored: pd.DataFrame, offered: pd.DataFrame, tolerance: float, replace: bool
) -> tuple[pd.DataFrame, Merged]:
    kept, new = stored.set_index("start"), offered.set_index("start")
    both = kept.index.intersection(new.index)
    mine, theirs = kept.loc[both], new.loc[both]
    if replace:
        changed = (mine[[*PRICE_COLUMNS, "volume", "split"]] != theirs[[*PRICE_COLUMNS, "volume", "split"]]).any(axis=1)
        combined = pd.concat([kept.drop(both[changed]), new.drop(both[~changed])])
        merged = Merged(len(new) - len(both), int(changed.sum()))
    else:
        apart = (theirs["close"] / mine["close"] - 1).abs() > tolerance
        apart |= ~np.isclose(theirs["split"], mine["split"], rtol=1e-6)
        pairs = zip(mine["source"][~apart], theirs["source"][~apart], strict=True)
        kept.loc[both[~apart], "source"] = [a if b in a.split("+") else f"{a}+{b}" for a, b in pairs]
        combined = pd.concat([kept, new.drop(both)])
        merged = Merged(len(new) - len(both), disagreements=_described(mine[apart], theirs[apart]))
    return combined.sort_index().reset_index()[list(COLUMNS)], merged


def _described(mine: pd.DataFrame, theirs: pd.DataFrame) -> list[Disagreement]:
    columns = ["close", "split", "source"]
    rows = zip(mine[columns].itertuples(), theirs[columns].itertuples(index=False), strict=True)
    return [Disagreement(kept.Index.to_pydatetime(), *kept[1:], *offered) for kept, offered in rows]


def _write(frame: pd.DataFrame, path: Path) -> None:
    """Publish the whole file or nothing: written beside, flushed to disk, renamed."""
    unfinished = path.with_suffix(".tmp")
    frame.to_parquet(unfinished, index=False)
    sync(unfinished)
    unfinished.replace(path)
    sync(path.parent)

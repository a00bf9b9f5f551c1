"""Label a file of ideas against a file of bars, by the rules of the outcome logger; no workspace is needed.

Ideas: `id,ticker,side,entry,target,stop,accepted_at`, CSV or Parquet; levels in the price basis of `accepted_at`, an
aware moment. Bars: what `store.bar_files` reads, daily or shorter, one file or a folder of them. A bad row of either
is reported with its line and reason and keeps nothing else from being labelled; a bad bar is a missing one. The ideas
and the labels may lie in the folder of the bars.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from osiris.config.settings import Outcomes, Prices
from osiris.core.clock import parse_moment
from osiris.core.errors import BadInput
from osiris.core.files import write_whole
from osiris.core.ideas import ENDING, Levels, ticker_symbol
from osiris.core.row_files import SUFFIXES, BadRow, read_rows
from osiris.labeling.label import judge
from osiris.market.backfill import EMPTY, tracked
from osiris.market.bar_frames import nanoseconds
from osiris.market.calendars import DAILY, MINUTES, calendar_of, session_days
from osiris.market.file_import import FileBars, Form, Spool, bar_files, each_series, joined_pieces, left_out
from osiris.market.reconcile import combine
from osiris.market.timeline import LOOK_BACK, Timeline, timeline

IDEA_COLUMNS = ["id", "ticker", "side", "entry", "target", "stop", "accepted_at"]
LABEL_COLUMNS = ["id", "outcome", *ENDING]


@dataclass
class Labels:
    """`labels` has a row a good idea, in the order of the file, with `LABEL_COLUMNS` and `open_reason`.

    `notes` tells which files were left out, and which tickers come from the names of files.
    """

    labels: pd.DataFrame
    bad: list[BadRow]
    notes: list[str]


def label_file(
    ideas: Path,
    bars: Path,
    rules: Outcomes,
    prices: Prices,
    as_of: datetime,
    *,
    form: Form = Form(),
    out: Path | None = None,
    progress: bool = False,
) -> Labels:
    """Label the ideas of a file at `as_of`; raises `BadInput` or `NotFound` for files that cannot be read.

    `form` says how the files of bars are written; `out` is where the labels will be, so no file of bars.
    """
    good, bad = scan_ideas(ideas)
    files = bar_files(bars, [ideas, *([out] if out else [])])
    first = good.groupby("ticker")["as_of"].min()
    lines: dict[str, Timeline] = {}
    with Spool(form) as spool:
        for file in tracked(files, "Reading bars", progress):
            spool.add(file)
        bad += spool.found.bad
        for ticker, read in groupby(each_series(spool, prices, as_of), lambda found: found.ticker):
            found = list(read)
            bad += [row for one in found for row in one.bad]
            usable = joined_pieces(one.bars for one in found if one.bars)
            if usable and ticker in first.index:
                lines[ticker] = _timeline(ticker, usable, prices, first[ticker], as_of, rules.tolerance)
        notes = spool.notes(left_out(bars, [*files, ideas, *([out] if out else [])]))
    bad.sort(key=lambda row: (row.file != ideas, str(row.file), row.line))
    if good.empty:
        return Labels(pd.DataFrame(columns=[*LABEL_COLUMNS, "open_reason"]), bad, notes)
    judged = judge(_with_basis(good, prices), lines, rules, as_of).set_index("id").loc[good["id"]]
    return Labels(judged.reset_index()[[*LABEL_COLUMNS, "open_reason"]], bad, notes)


def write_labels(labels: pd.DataFrame, path: Path) -> None:
    """Write `LABEL_COLUMNS` to a CSV or Parquet file, whole or not at all; raises `BadInput` for another suffix."""
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput("an output file that ends in .csv or .parquet", str(path), "name one")
    try:
        if path.suffix.lower() == ".csv":
            write_whole(path, to_csv(labels))
        else:
            draft = path.with_name(f".{path.name}.draft")
            labels[LABEL_COLUMNS].to_parquet(draft, index=False)
            draft.replace(path)
    except OSError as error:
        raise BadInput("an output file that can be written", f"{path} ({error.strerror})", "name another") from error


def to_csv(labels: pd.DataFrame) -> str:
    """`LABEL_COLUMNS` as CSV, moments in ISO 8601."""
    return _with_texts(labels)[LABEL_COLUMNS].to_csv(index=False)


def to_records(labels: pd.DataFrame) -> list[dict[str, object]]:
    """The labels as JSON values, `open_reason` too; what is absent is null."""
    known = _with_texts(labels).astype(object)
    return known.where(known.notna(), None).to_dict("records")


def _with_texts(labels: pd.DataFrame) -> pd.DataFrame:
    moments = labels["closed_at"].map(lambda moment: moment.isoformat(), na_action="ignore")
    return labels.assign(closed_at=moments)


def scan_ideas(file: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    """The good ideas of a file as `loop.judge` takes them, and the bad rows by line.

    Raises `BadInput` for a file that cannot be read or lacks a column.
    """
    rows, bad = read_rows(file)
    missing = [name for name in IDEA_COLUMNS if name not in rows]
    if missing or rows.columns.duplicated().any():
        raise BadInput(
            f"the columns {', '.join(IDEA_COLUMNS)}, each once",
            f"{', '.join(rows.columns)} in {file}",
            "name the columns in the first line",
        )
    seen: set[str] = set()
    good = []
    for line, row in zip(rows.index, rows[IDEA_COLUMNS].itertuples(index=False), strict=True):
        try:
            good.append(_idea(row, seen))
        except BadInput as error:
            bad.append(BadRow(file, int(line), str(error)))
    columns = [*IDEA_COLUMNS[:-1], "as_of", "since"]
    frame = pd.DataFrame(good, columns=columns)
    moments = {name: pd.to_datetime(frame[name], utc=True) for name in ("as_of", "since")}
    return frame.assign(**moments), sorted(bad, key=lambda row: row.line)


def _idea(row: tuple, seen: set[str]) -> tuple:
    name, ticker, side, *levels, accepted = (str(value).strip() for value in row)
    if not name or name in seen:
        raise BadInput("an id of its own", repr(name), "give each idea one")
    symbol = ticker_symbol(ticker)
    try:
        made = Levels(side=side.lower(), **dict(zip(("entry", "target", "stop"), levels, strict=True)))
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{first['loc'][0]}: " if first["loc"] else ""
        raise BadInput(
            "side and levels of a trade", what + first["msg"].removeprefix("Value error, "), "correct them"
        ) from error
    moment = parse_moment(accepted)
    seen.add(name)
    return name, symbol, str(made.side), made.entry, made.target, made.stop, moment, moment


def _timeline(
    ticker: str, read: Iterable[FileBars], prices: Prices, first: datetime, as_of: datetime, tolerance: float
) -> Timeline:
    """The bars of all files; where two of them differ on a bar it is disputed."""
    together: dict[str, pd.DataFrame] = {}
    disputes = []
    for bars in read:
        before = together.get(bars.interval, bars.frame.iloc[:0])
        together[bars.interval], merged = combine(before, bars.frame, tolerance, False, bars.interval)
        disputes += merged.disagreements
    finer = {interval: together[interval] for interval in MINUTES if interval in together}
    daily = together.get(DAILY, EMPTY)
    start = first - LOOK_BACK
    calendar = calendar_of(ticker, prices)
    return timeline(daily, calendar, start, as_of, finer=finer, disputes=disputes, tolerance=tolerance)


def _with_basis(ideas: pd.DataFrame, prices: Prices) -> pd.DataFrame:
    """`basis_at` at the close of the session whose day it was on the exchange at acceptance, if that is not over.

    From midnight of an ex-date on, and in a session that began the evening before, levels are those of the new shares.
    """
    moved = ideas["as_of"].copy()
    for ticker, group in ideas.groupby("ticker"):
        calendar = calendar_of(ticker, prices)
        begins, closes = session_days(calendar)
        accepted = nanoseconds(group["since"])
        session = np.searchsorted(begins, accepted, side="right") - 1
        over = np.maximum(accepted, np.where(session >= 0, closes[session], accepted))
        moved[group.index] = pd.to_datetime(over, utc=True)
    return ideas.assign(basis_at=moved)

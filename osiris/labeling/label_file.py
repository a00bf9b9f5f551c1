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

from osiris.config.settings import OutcomesSettings, PricesSettings
from osiris.core.clock import parse_moment
from osiris.core.errors import BadInput
from osiris.core.files import write_atomically
from osiris.core.ideas import EXIT_COLUMNS, Levels, parse_ticker
from osiris.core.row_files import ROW_FILE_SUFFIXES, BadRow, read_rows
from osiris.labeling.label import label_frame
from osiris.market.backfill import EMPTY_BARS, track_progress
from osiris.market.bar_frames import to_nanoseconds
from osiris.market.calendars import BAR_MINUTES, DAILY, calendar_of, day_bounds
from osiris.market.file_import import (
    FileBars,
    ImportOptions,
    Spool,
    find_bar_files,
    find_ignored_files,
    join_pieces,
    read_all_series,
)
from osiris.market.reconcile import combine
from osiris.market.timeline import BASIS_LOOKBACK, Timeline, build_timeline

IDEA_FILE_COLUMNS = ["id", "ticker", "side", "entry", "target", "stop", "accepted_at"]
LABEL_COLUMNS = ["id", "outcome", *EXIT_COLUMNS]


@dataclass
class LabeledFile:
    """`labels` has a row a good idea, in the order of the file, with `LABEL_COLUMNS` and `open_reason`.

    `notes` tells which files were left out, and which tickers come from the names of files.
    """

    labels: pd.DataFrame
    bad: list[BadRow]
    notes: list[str]


def label_file(
    ideas: Path,
    bars: Path,
    rules: OutcomesSettings,
    prices: PricesSettings,
    as_of: datetime,
    *,
    options: ImportOptions = ImportOptions(),
    out: Path | None = None,
    progress: bool = False,
) -> LabeledFile:
    """Label the ideas of a file at `as_of`; raises `BadInput` or `NotFound` for files that cannot be read.

    `form` says how the files of bars are written; `out` is where the labels will be, so no file of bars.
    """
    good, bad = scan_ideas(ideas)
    files = find_bar_files(bars, [ideas, *([out] if out else [])])
    first = good.groupby("ticker")["as_of"].min()
    timelines: dict[str, Timeline] = {}
    with Spool(options) as spool:
        for file in track_progress(files, "Reading bars", progress):
            spool.add_file(file)
        bad += spool.report.bad
        for ticker, read in groupby(read_all_series(spool, prices, as_of), lambda found: found.ticker):
            found = list(read)
            bad += [row for one in found for row in one.bad]
            usable = join_pieces(one.bars for one in found if one.bars)
            if usable and ticker in first.index:
                timelines[ticker] = _build_timeline(ticker, usable, prices, first[ticker], as_of, rules.tolerance)
        notes = spool.notes(find_ignored_files(bars, [*files, ideas, *([out] if out else [])]))
    bad.sort(key=lambda row: (row.file != ideas, str(row.file), row.line))
    if good.empty:
        return LabeledFile(pd.DataFrame(columns=[*LABEL_COLUMNS, "open_reason"]), bad, notes)
    labels = label_frame(_with_basis(good, prices), timelines, rules, as_of).set_index("id").loc[good["id"]]
    return LabeledFile(labels.reset_index()[[*LABEL_COLUMNS, "open_reason"]], bad, notes)


def write_labels(labels: pd.DataFrame, path: Path) -> None:
    """Write `LABEL_COLUMNS` to a CSV or Parquet file, whole or not at all; raises `BadInput` for another suffix."""
    if path.suffix.lower() not in ROW_FILE_SUFFIXES:
        raise BadInput("an output file that ends in .csv or .parquet", str(path), "name one")
    try:
        if path.suffix.lower() == ".csv":
            write_atomically(path, to_csv(labels))
        else:
            draft = path.with_name(f".{path.name}.draft")
            labels[LABEL_COLUMNS].to_parquet(draft, index=False)
            draft.replace(path)
    except OSError as error:
        raise BadInput("an output file that can be written", f"{path} ({error.strerror})", "name another") from error


def to_csv(labels: pd.DataFrame) -> str:
    """`LABEL_COLUMNS` as CSV, moments in ISO 8601."""
    return _with_iso_moments(labels)[LABEL_COLUMNS].to_csv(index=False)


def to_records(labels: pd.DataFrame) -> list[dict[str, object]]:
    """The labels as JSON values, `open_reason` too; what is absent is null."""
    known = _with_iso_moments(labels).astype(object)
    return known.where(known.notna(), None).to_dict("records")


def _with_iso_moments(labels: pd.DataFrame) -> pd.DataFrame:
    moments = labels["closed_at"].map(lambda moment: moment.isoformat(), na_action="ignore")
    return labels.assign(closed_at=moments)


def scan_ideas(file: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    """The good ideas of a file as `loop.judge` takes them, and the bad rows by line.

    Raises `BadInput` for a file that cannot be read or lacks a column.
    """
    rows, bad = read_rows(file)
    missing = [name for name in IDEA_FILE_COLUMNS if name not in rows]
    if missing or rows.columns.duplicated().any():
        raise BadInput(
            f"the columns {', '.join(IDEA_FILE_COLUMNS)}, each once",
            f"{', '.join(rows.columns)} in {file}",
            "name the columns in the first line",
        )
    seen: set[str] = set()
    good = []
    for line, row in zip(rows.index, rows[IDEA_FILE_COLUMNS].itertuples(index=False), strict=True):
        try:
            good.append(_parse_idea(row, seen))
        except BadInput as error:
            bad.append(BadRow(file, int(line), str(error)))
    columns = [*IDEA_FILE_COLUMNS[:-1], "as_of", "since"]
    frame = pd.DataFrame(good, columns=columns)
    moments = {name: pd.to_datetime(frame[name], utc=True) for name in ("as_of", "since")}
    return frame.assign(**moments), sorted(bad, key=lambda row: row.line)


def _parse_idea(row: tuple, seen: set[str]) -> tuple:
    name, ticker, side, *levels, accepted = (str(value).strip() for value in row)
    if not name or name in seen:
        raise BadInput("an id of its own", repr(name), "give each idea one")
    symbol = parse_ticker(ticker)
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


def _build_timeline(
    ticker: str, read: Iterable[FileBars], prices: PricesSettings, first: datetime, as_of: datetime, tolerance: float
) -> Timeline:
    """The bars of all files; where two of them differ on a bar it is disputed."""
    by_interval: dict[str, pd.DataFrame] = {}
    disputes = []
    for bars in read:
        before = by_interval.get(bars.interval, bars.frame.iloc[:0])
        by_interval[bars.interval], merged = combine(before, bars.frame, tolerance, False, bars.interval)
        disputes += merged.disagreements
    finer = {interval: by_interval[interval] for interval in BAR_MINUTES if interval in by_interval}
    daily = by_interval.get(DAILY, EMPTY_BARS)
    start = first - BASIS_LOOKBACK
    calendar = calendar_of(ticker, prices)
    return build_timeline(daily, calendar, start, as_of, finer=finer, disputes=disputes, tolerance=tolerance)


def _with_basis(ideas: pd.DataFrame, prices: PricesSettings) -> pd.DataFrame:
    """`basis_at` at the close of the session whose day it was on the exchange at acceptance, if that is not over.

    From midnight of an ex-date on, and in a session that began the evening before, levels are those of the new shares.
    """
    moved = ideas["as_of"].copy()
    for ticker, group in ideas.groupby("ticker"):
        calendar = calendar_of(ticker, prices)
        begins, closes = day_bounds(calendar)
        accepted = to_nanoseconds(group["since"])
        session = np.searchsorted(begins, accepted, side="right") - 1
        over = np.maximum(accepted, np.where(session >= 0, closes[session], accepted))
        moved[group.index] = pd.to_datetime(over, utc=True)
    return ideas.assign(basis_at=moved)

"""Labels for a file of ideas against a file of bars, by the rules of the outcome logger; no workspace is needed.

Ideas are a CSV or Parquet file with the columns `id,ticker,side,entry,target,stop,accepted_at`. Levels are in the price
basis of `accepted_at`, a moment with an offset. Bars are what `market.file_import` reads, daily or shorter: one file or
a folder of them.

A bad row of either kind is reported with its line and reason, and all other ideas are still labelled; a bad bar counts
as missing. The files of ideas and of labels may be in the folder of the bars.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from pydantic import ValidationError

from osiris.config.sections import OutcomesSettings, PricesSettings
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
from osiris.market.reconcile import Disagreement, combine
from osiris.market.timeline import BASIS_LOOKBACK, Timeline, TimelineSources, build_timeline

IDEA_FILE_COLUMNS = ["id", "ticker", "side", "entry", "target", "stop", "accepted_at"]
LABEL_COLUMNS = ["id", "outcome", *EXIT_COLUMNS]


@dataclass
class LabeledFile:
    """The result for one file of ideas.

    `labels` has one row per good idea, in the order of the file, with `LABEL_COLUMNS` and `open_reason`. `notes` name
    the files that were left out, and the tickers that come from file names.
    """

    labels: pd.DataFrame
    bad: list[BadRow]
    notes: list[str]


@dataclass(frozen=True)
class LabelRules:
    """The rules of outcomes, the calendars of tickers, and how the files of bars are written."""

    outcomes: OutcomesSettings = field(default_factory=OutcomesSettings)
    prices: PricesSettings = field(default_factory=PricesSettings)
    options: ImportOptions = field(default_factory=ImportOptions)


def label_file(
    ideas: Path, bars: Path, rules: LabelRules, as_of: datetime, *, out: Path | None = None, progress: bool = False
) -> LabeledFile:
    """Label the ideas of a file at `as_of`; raises `BadInput` or `NotFound` for files that cannot be read.

    `out` is the file that the labels will be written to, so it is never read as a file of bars.
    """
    good, bad = scan_ideas(ideas)
    not_bars = [ideas] if out is None else [ideas, out]
    files = find_bar_files(bars, not_bars)
    first = good.groupby("ticker")["as_of"].min()
    timelines: dict[str, Timeline] = {}
    with Spool(rules.options) as spool:
        for file in track_progress(files, "Reading bars", progress):
            spool.add_file(file)
        bad += spool.report.bad
        # Series come sorted by ticker, so `groupby` sees each ticker once and only its bars are in memory.
        for ticker, group in groupby(read_all_series(spool, rules.prices, as_of), lambda series: series.ticker):
            series_of_ticker = list(group)
            bad += [row for series in series_of_ticker for row in series.bad]
            usable = join_pieces(series.bars for series in series_of_ticker if series.bars)
            if usable and ticker in first.index:
                timelines[ticker] = _build_timeline(ticker, usable, rules, first[ticker], as_of)
        notes = spool.notes(find_ignored_files(bars, [*files, *not_bars]))
    bad.sort(key=lambda row: (row.file != ideas, str(row.file), row.line))
    if good.empty:
        return LabeledFile(pd.DataFrame(columns=[*LABEL_COLUMNS, "open_reason"]), bad, notes)
    labels = label_frame(_with_basis(good, rules.prices), timelines, rules.outcomes, as_of)
    in_file_order = labels.set_index("id").loc[good["id"]].reset_index()
    return LabeledFile(in_file_order[[*LABEL_COLUMNS, "open_reason"]], bad, notes)


def write_labels(labels: pd.DataFrame, path: Path) -> None:
    """Write `LABEL_COLUMNS` to a CSV or Parquet file, or change nothing; raises `BadInput` for another suffix."""
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
    """`LABEL_COLUMNS` as CSV text, with moments in ISO 8601."""
    return _with_iso_moments(labels)[LABEL_COLUMNS].to_csv(index=False)


def to_records(labels: pd.DataFrame) -> list[dict[str, object]]:
    """The labels and `open_reason` as JSON values; a missing value is null."""
    values = _with_iso_moments(labels).astype(object)
    return cast("list[dict[str, object]]", values.where(values.notna(), None).to_dict("records"))


def _with_iso_moments(labels: pd.DataFrame) -> pd.DataFrame:
    moments = labels["closed_at"].map(lambda moment: moment.isoformat(), na_action="ignore")
    return labels.assign(closed_at=moments)


def scan_ideas(file: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    """The good ideas of a file as `label_frame` takes them, and the bad rows by line.

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


def _parse_idea(row: tuple[object, ...], seen: set[str]) -> tuple[object, ...]:
    """The values of one row, in the order of the columns of `scan_ideas`; adds the id to `seen`."""
    name, ticker, side, *levels, accepted = (str(value).strip() for value in row)
    if not name or name in seen:
        raise BadInput("an id of its own", repr(name), "give each idea one")
    symbol = parse_ticker(ticker)
    try:
        idea = Levels(side=side.lower(), **dict(zip(("entry", "target", "stop"), levels, strict=True)))
    except ValidationError as error:
        first = error.errors()[0]
        field_name = f"{first['loc'][0]}: " if first["loc"] else ""
        problem = field_name + first["msg"].removeprefix("Value error, ")
        raise BadInput("side and levels of a trade", problem, "correct them") from error
    moment = parse_moment(accepted)
    seen.add(name)
    return name, symbol, str(idea.side), idea.entry, idea.target, idea.stop, moment, moment


def _build_timeline(
    ticker: str, bars_of_files: Iterable[FileBars], rules: LabelRules, first: datetime, as_of: datetime
) -> Timeline:
    """The timeline of one ticker from the bars of all files; a bar on which two files differ is disputed.

    `first` is the moment of the first idea on the ticker.
    """
    tolerance = rules.outcomes.tolerance
    by_interval: dict[str, pd.DataFrame] = {}
    disputes: list[Disagreement] = []
    for bars in bars_of_files:
        before = by_interval.get(bars.interval, bars.frame.iloc[:0])
        by_interval[bars.interval], merged = combine(before, bars.frame, tolerance, False, bars.interval)
        disputes += merged.disagreements
    finer = {interval: by_interval[interval] for interval in BAR_MINUTES if interval in by_interval}
    daily = by_interval.get(DAILY, EMPTY_BARS)
    start = first - BASIS_LOOKBACK
    calendar = calendar_of(ticker, rules.prices)
    return build_timeline(TimelineSources(daily, finer, disputes), calendar, start, as_of, tolerance)


def _with_basis(ideas: pd.DataFrame, prices: PricesSettings) -> pd.DataFrame:
    """The ideas with `basis_at`: the moment of acceptance, or the close of the session of that day if it comes later.

    Example: a split takes effect on Tuesday, and an idea is accepted on Tuesday before the open. Its levels are prices
    of the new shares, so they are in the price basis of Tuesday's bar. This holds from midnight of the ex-date at the
    exchange. In a session that began the evening before, it holds from that evening.
    """
    basis_at = ideas["as_of"].copy()
    for ticker, group in ideas.groupby("ticker"):
        begins, closes = day_bounds(calendar_of(str(ticker), prices))
        accepted = to_nanoseconds(group["since"])
        session = np.searchsorted(begins, accepted, side="right") - 1
        # Index -1 is before the first day of the calendar; there is no close to move to.
        close = np.where(session >= 0, closes[session], accepted)
        basis_at[group.index] = pd.to_datetime(np.maximum(accepted, close), utc=True)
    return ideas.assign(basis_at=basis_at)

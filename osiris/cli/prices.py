"""`osiris prices`: the local OHLC store."""

import json
from pathlib import Path
from typing import Annotated

import typer

from osiris.cli.common import (
    DailyOption,
    DateFormatOption,
    DecimalOption,
    DelimiterOption,
    JsonOption,
    RegularHoursOption,
    TickerOption,
    TimezoneOption,
    WorkspaceOption,
    command_workspace,
    output_report,
    output_rows,
)

prices_app = typer.Typer(no_args_is_help=True, help="The local OHLC store.")


@prices_app.command("import")
def import_prices(
    path: Annotated[Path, typer.Argument(help="A CSV or Parquet file, or a folder of them.")],
    replace: Annotated[bool, typer.Option("--replace", help="Correct stored bars that differ.")] = False,
    ticker: TickerOption = "",
    date_format: DateFormatOption = "",
    delimiter: DelimiterOption = "",
    decimal: DecimalOption = "",
    timezone: TimezoneOption = "",
    daily: DailyOption = False,
    regular: RegularHoursOption = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import OHLC bars from a CSV or Parquet file, or a folder of them.

    One bad row keeps the whole import out. docs/how-to/import-bars.md lists the options that each vendor's files need.
    Exits with 1 when bars differ from stored ones or look like an unrecorded split.
    """
    from osiris.market.file_import import ImportOptions
    from osiris.market.importer import ImportMode, import_bars

    options = ImportOptions(ticker, date_format, delimiter, decimal, timezone, daily, regular)
    with command_workspace(workspace) as ws:
        done = import_bars(ws.bars, ws.settings, path, ws.now, options, ImportMode(replace, progress=True))
        output_report(done, as_json, "Imported")
    raise typer.Exit(1 if done.disputed or done.suspicious else 0)


@prices_app.command("update")
def update_prices(tickers: list[str], workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Fetch the newest bars of tickers from Yahoo into the local store.

    Exits with 1 when a ticker was not updated, or when a new bar differs from a stored one.
    """
    with command_workspace(workspace) as ws:
        done = ws.prices.update(tickers, ws.now, progress=True)
        output_report(done, as_json, "Updated")
    raise typer.Exit(1 if done.failed or done.disputed else 0)


@prices_app.command("show")
def show_prices(
    ticker: str,
    last: Annotated[int, typer.Option(min=1, help="How many bars.")] = 10,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the last bars of a ticker in the local store."""
    from osiris.market.calendars import calendar_of, session_day

    with command_workspace(workspace) as ws:
        bars = ws.bars.get(ticker)
        calendar = calendar_of(ticker.upper(), ws.settings.prices)
        days = [session_day(calendar, start) for start in bars["start"].tail(last)]
        rows = json.loads(bars.tail(last).to_json(orient="records", date_format="iso", date_unit="s"))
        rows = [{"day": day, **bar} for day, bar in zip(days, rows, strict=True)]
        output_rows(rows, as_json, f"{ticker.upper()}: {len(bars)} bars, raw prices, times in UTC")


@prices_app.command("disputes")
def list_disputes(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the days on which sources disagree.

    No idea is settled across a disputed day. Exits with 1 when there is one.
    """
    from dataclasses import asdict

    from osiris.market.calendars import calendar_of, session_day

    with command_workspace(workspace) as ws:
        rows = [
            {
                "ticker": ticker,
                "day": session_day(calendar_of(ticker, ws.settings.prices), dispute.start),
                **asdict(dispute),
                "start": str(dispute.start),
            }
            for ticker, disputes in ws.bars.disputes().items()
            for dispute in disputes
        ]
        output_rows(rows, as_json, "Disputed days")
    raise typer.Exit(1 if rows else 0)


@prices_app.command("confirm")
def confirm_bar(
    ticker: str,
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD, the exchange's own date.")],
    workspace: WorkspaceOption = None,
) -> None:
    """Keep the stored bar of a day, whatever other sources say.

    Only `import --replace` overwrites it. For a session without a bar, the command records that there was none. Ideas
    then no longer wait for it, unless a bar arrives after all.
    """
    from osiris.market.calendars import calendar_of

    with command_workspace(workspace) as ws:
        has_bar = ws.bars.confirm(ticker, day, calendar_of(ticker.upper(), ws.settings.prices), ws.now)
        message = (
            "The stored bar of {} on {} stands." if has_bar else "{} had no bar on {}; one that comes still counts."
        )
        print(message.format(ticker.upper(), day))

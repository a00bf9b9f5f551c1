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
    path: Path,
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
    """Import OHLC bars from a CSV, a Parquet file or a folder of them; one bad row keeps everything out.

    docs/bar-files.md tells which files of which vendors need an option. Exits with 1 when bars differ from stored ones
    or look like an unrecorded split.
    """
    from osiris.market.file_import import ImportOptions
    from osiris.market.importer import import_bars

    form = ImportOptions(ticker, date_format, delimiter, decimal, timezone, daily, regular)
    with command_workspace(workspace) as ws:
        done = import_bars(ws.bars, ws.settings, path, ws.now, form=form, replace=replace, progress=True)
        output_report(done, as_json, "Imported")
    raise typer.Exit(1 if done.disputed or done.suspicious else 0)


@prices_app.command("update")
def update_prices(tickers: list[str], workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Fetch the newest bars of tickers from Yahoo into the local store; exits with 1 when one was not updated."""
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
    """Show what the local store has of a ticker."""
    from osiris.market.calendars import calendar_of, session_day

    with command_workspace(workspace) as ws:
        bars = ws.bars.get(ticker)
        calendar = calendar_of(ticker.upper(), ws.settings.prices)
        days = [session_day(calendar, start) for start in bars["start"].tail(last)]
        found = json.loads(bars.tail(last).to_json(orient="records", date_format="iso", date_unit="s"))
        found = [{"day": day, **bar} for day, bar in zip(days, found, strict=True)]
        output_rows(found, as_json, f"{ticker.upper()}: {len(bars)} bars, raw prices, times in UTC")


@prices_app.command("disputes")
def list_disputes(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the days on which sources disagree: no idea is settled across one. Exits with 1 when there are any."""
    from dataclasses import asdict

    from osiris.market.calendars import calendar_of, session_day

    with command_workspace(workspace) as ws:
        found = [
            {
                "ticker": ticker,
                "day": session_day(calendar_of(ticker, ws.settings.prices), dispute.start),
                **asdict(dispute),
                "start": str(dispute.start),
            }
            for ticker, disputes in ws.bars.disputes().items()
            for dispute in disputes
        ]
        output_rows(found, as_json, "Disputed days")
    raise typer.Exit(1 if found else 0)


@prices_app.command("confirm")
def confirm_bar(
    ticker: str,
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD, the exchange's own date.")],
    workspace: WorkspaceOption = None,
) -> None:
    """Keep the stored bar of a day for good, whatever other sources say (import --replace overwrites it).

    Of a session without a bar it says that there was none: it holds no idea back any more, unless a bar comes.
    """
    from osiris.market.calendars import calendar_of

    with command_workspace(workspace) as ws:
        has_bar = ws.bars.confirm(ticker, day, calendar_of(ticker.upper(), ws.settings.prices), ws.now)
        message = (
            "The stored bar of {} on {} stands." if has_bar else "{} had no bar on {}; one that comes still counts."
        )
        print(message.format(ticker.upper(), day))

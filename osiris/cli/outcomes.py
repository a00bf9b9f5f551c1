"""`osiris outcomes`, `label`, `close` and `events`: how ideas ended on the market."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from osiris.cli.common import (
    AsOfOption,
    DailyOption,
    DateFormatOption,
    DecimalOption,
    DelimiterOption,
    JsonOption,
    NameOption,
    RegularHoursOption,
    TickerOption,
    TimezoneOption,
    WorkspaceOption,
    command_workspace,
    json_output,
    output_report,
)

events_app = typer.Typer(no_args_is_help=True, help="Outcome events on Redis.")


def outcomes_command(workspace: WorkspaceOption = None, as_of: AsOfOption = "", as_json: JsonOption = False) -> None:
    """Settle ideas against prices and publish the outcomes."""
    from osiris.labeling.settle import settle

    with command_workspace(workspace, as_of) as ws:
        output_report(settle(ws.advice, ws.prices, ws.events, ws.settings, ws.now, progress=True), as_json, "Outcomes")


def label_command(
    ideas: Annotated[Path, typer.Argument(help="id,ticker,side,entry,target,stop,accepted_at as CSV or Parquet.")],
    bars: Annotated[
        Path, typer.Option("--bars", help="OHLC file, folder: ticker,ts|date,open,high,low,close[,split].")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the labels to this .csv or .parquet.")] = None,
    calendar: Annotated[str, typer.Option(help="Exchange calendar of the tickers.")] = "XNYS",
    max_holding_days: Annotated[int, typer.Option(min=0, max=36500, help="Days until an idea expires; 0: never.")] = 0,
    breakeven_r: Annotated[
        float, typer.Option(min=0, help="Closed within this many R of the entry: breakeven.")
    ] = 0.05,
    ticker: TickerOption = "",
    date_format: DateFormatOption = "",
    delimiter: DelimiterOption = "",
    decimal: DecimalOption = "",
    timezone: TimezoneOption = "",
    daily: DailyOption = False,
    regular: RegularHoursOption = False,
    as_of: AsOfOption = "",
    as_json: JsonOption = False,
) -> None:
    """Label a file of ideas against a file of bars.

    This needs no workspace. Without --out and --json the labels are printed as CSV. Bad rows are listed on stderr; the
    other rows are labelled all the same. Exits with 1 when a row was bad. The options from --ticker to --regular-hours
    describe the files of bars: see docs/how-to/import-bars.md.
    """
    from osiris.config.settings import OutcomesSettings, PricesSettings
    from osiris.core.clock import parse_moment
    from osiris.labeling.label_file import LabelRules, label_file, to_csv, to_records, write_labels
    from osiris.market.file_import import ImportOptions
    from osiris.ui.console import to_printable

    form = ImportOptions(ticker, date_format, delimiter, decimal, timezone, daily, regular)
    rules = OutcomesSettings(max_holding_days=max_holding_days, breakeven_r=breakeven_r)
    moment = parse_moment(as_of) if as_of else datetime.now(UTC)
    prices, progress = PricesSettings(calendar=calendar), sys.stderr.isatty()
    labeled = label_file(ideas, bars, LabelRules(rules, prices, form), moment, out=out, progress=progress)
    if out:
        write_labels(labeled.labels, out)
    for row in labeled.bad:
        print(to_printable(f"osiris: line {row.line} of {row.file}: {row.reason}"), file=sys.stderr)
    for note in labeled.notes:
        print(to_printable(f"osiris: note: {note}"), file=sys.stderr)
    counts = labeled.labels["outcome"].value_counts().to_dict()
    if as_json:
        bad = [{"file": str(row.file), "line": row.line, "reason": row.reason} for row in labeled.bad]
        json_output.write({"counts": counts, "labels": to_records(labeled.labels), "bad": bad})
    elif out:
        output_report(
            {"labelled": len(labeled.labels), **counts, "bad rows": len(labeled.bad), "written to": str(out)},
            False,
            "Labels",
        )
    else:
        text = to_csv(labeled.labels)
        print(to_printable(text) if sys.stdout.isatty() else text, end="")
    raise typer.Exit(1 if labeled.bad else 0)


def close_command(
    idea: Annotated[str, typer.Argument(help="Id of an accepted idea.")],
    price: Annotated[
        float | None, typer.Option(help="Price of the close (default: the next price that trades).")
    ] = None,
    by: NameOption = "anonymous",
    workspace: WorkspaceOption = None,
    as_of: AsOfOption = "",
    as_json: JsonOption = False,
) -> None:
    """Close a trade by hand; `osiris outcomes` settles it.

    It is settled at the given price, if the market traded there. A target or stop that was reached before counts
    instead.
    """
    from osiris.review.decide import request_close

    with command_workspace(workspace, as_of) as ws:
        row = request_close(ws.advice, idea, price, by, ws.now)
        shown = {name: row[name] for name in ("id", "ticker", "close_asked_at", "close_asked_price", "close_asked_by")}
        output_report(shown, as_json, "Close requested")


@events_app.command("tail")
def tail_command(
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest event.")] = False,
    count: Annotated[int, typer.Option(min=0, help="Number of events; 0: until Ctrl-C.")] = 0,
    workspace: WorkspaceOption = None,
) -> None:
    """Show `advice.outcome` events as they arrive, one JSON object a line."""
    with command_workspace(workspace) as ws:
        try:
            for number, event in enumerate(filter(None, ws.events.tail(from_start)), 1):
                json_output.write(event, indent=None)
                if number == count:
                    break
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


@events_app.command("relay")
def relay_command(workspace: WorkspaceOption = None, as_of: AsOfOption = "", as_json: JsonOption = False) -> None:
    """Publish events that wait for Redis; `osiris outcomes` does it too."""
    from osiris.core.run_log import collect_warnings
    from osiris.labeling.settle import publish_pending

    with command_workspace(workspace, as_of) as ws, collect_warnings() as notes:
        published = publish_pending(ws.advice, ws.events, ws.now)
        output_report({"published": published, "notes": notes}, as_json, "Events")
    raise typer.Exit(1 if notes else 0)

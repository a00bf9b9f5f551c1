"""`osiris demo`: the whole loop on a historical clock over real daily bars, with the same parts as in real use.

Each nightly run of the demo ends a block of 39 sessions, which is about eight weeks. Ideas are drafted and reviewed in
the first eight sessions. They run in the next ten. The last month is held out for the comparison. In the first block,
AAPL's split of 2005-02-28 happens while ideas on it are open.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from osiris.core.clock import FixedClock, as_utc
from osiris.core.errors import WorkspaceError
from osiris.core.files import create_folder, write_atomically
from osiris.demo.reviewer import review_ideas
from osiris.market.calendars import closes_between
from osiris.market.sample import load_sample
from osiris.serving.launch import review_command_line
from osiris.serving.server import RunningApi, start_api
from osiris.serving.status import build_adapter_table, count_accepted_outcomes
from osiris.storage.events import OUTCOME_TOPIC, read_messages
from osiris.storage.tables import ACCEPTED_SQL
from osiris.workspace import Workspace, open_workspace

DEMO_TICKERS = ["AAPL", "GOOG", "IBM", "MSFT"]
FIRST_SESSION = date(2005, 2, 14)
DRAFTING_SESSIONS = 8
"""Sessions at the beginning of a block in which ideas are drafted and reviewed."""
RUNNING_SESSIONS = 10
"""Sessions after them in which the ideas run; an idea is held for at most 14 days."""
HELD_OUT_SESSIONS = 21
"""Sessions at the end of a block, about a month, that are kept for the comparison."""
BLOCK_SESSIONS = DRAFTING_SESSIONS + RUNNING_SESSIONS + HELD_OUT_SESSIONS
NEW_YORK = ZoneInfo("America/New_York")
DEMO_SETTINGS = """\
# Written by `osiris demo`.
[advise]
tickers = ["AAPL", "GOOG", "IBM", "MSFT"]

[prices]
source = "local"  # the sample bars of 2000-2013

[outcomes]
max_holding_days = 14

[gate]
serve = "newest"  # the demo serves its newest adapter, so that you see it; the default, "better", needs a proof
holdout_days = 30
embargo_days = 5
"""


@dataclass
class DemoRun:
    """A demo under way. `seconds` has the time spent so far, by kind of step."""

    workspace: Workspace
    api: RunningApi
    progress: Progress
    task: TaskID
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def clock(self) -> FixedClock:
        """The workspace's historical clock, which the demo moves forwards."""
        clock = self.workspace.clock
        if not isinstance(clock, FixedClock):
            raise WorkspaceError("a workspace on a historical clock", "the system's clock", "open it at a moment")
        return clock

    @contextmanager
    def step(self, name: str, kind: str) -> Iterator[None]:
        """Show the step under way, and add its time to that of its kind."""
        started = time.perf_counter()
        self.progress.update(self.task, description=name)
        yield
        self.seconds[kind] = self.seconds.get(kind, 0) + time.perf_counter() - started
        self.progress.advance(self.task)


def run_demo(folder: Path | None = None, nights: int = 2) -> dict[str, Any]:
    """Run the demo in a new folder and return its results; raises `WorkspaceError` for a folder in use."""
    started = time.perf_counter()
    workspace = prepare_demo(folder or find_free_folder())
    from flows.server import prefect_server  # Prefect takes ten seconds: a folder in use is said before

    seconds = {"starter models": build_starters(workspace)}
    sessions = demo_sessions(workspace, nights)
    with (
        start_api(workspace, port=0) as api,
        prefect_server(workspace.settings),
        progress_bar() as progress,
    ):
        # Four steps a block, and two more: loading the bars and the last drafting.
        task = progress.add_task("Starting", total=2 + 4 * nights)
        run = DemoRun(workspace, api, progress, task, seconds)
        subscription = workspace.events.subscribe(OUTCOME_TOPIC)
        with run.step("Loading real daily bars", "bars"):
            load_sample(workspace.bars, DEMO_TICKERS)
        results = [run_block(run, number, sessions) for number in range(nights)]
        last = draft_last_ideas(run, sessions)
        events = len(read_messages(subscription))
        subscription.close()
    freeze_clock(workspace)
    result = summarize_demo(workspace, results, last, events)
    workspace.close()
    seconds["total"] = time.perf_counter() - started
    return result | {"seconds": {name: round(value, 1) for name, value in seconds.items()}}


def run_block(run: DemoRun, number: int, sessions: list[datetime]) -> dict[str, Any]:
    """Run one block: advise, review, outcomes, nightly."""
    from flows.advise import advise
    from flows.nightly import nightly
    from flows.outcomes import outcomes

    block = sessions[number * BLOCK_SESSIONS :][:BLOCK_SESSIONS]
    drafting = block[:DRAFTING_SESSIONS]
    as_of = nightly_run_time(block[-1])
    folder = str(run.workspace.folder)
    label = f"Nightly run {number + 1} ({as_of:%Y-%m-%d})"
    with run.step(f"{label}: drafting ideas", "advise"):
        drafted = advise(folder, drafting[-1].isoformat(), sessions=DRAFTING_SESSIONS)
    with run.step(f"{label}: reviewing", "review"):
        reviewed = review_block(run, drafting)
    run.clock.set(as_of)
    with run.step(f"{label}: settling outcomes", "outcomes"):
        settled = outcomes(folder, as_of.isoformat())
    with run.step(f"{label}: training and comparing", "nightly"):
        trained = nightly(folder, as_of.isoformat(), since=drafting[0].isoformat())
    return {"advise": drafted, "review": reviewed, "outcomes": settled, "nightly": trained}


def draft_last_ideas(run: DemoRun, sessions: list[datetime]) -> dict[str, Any]:
    """Draft once more after the last nightly run, with the newest adapter."""
    from flows.advise import advise

    with run.step("Drafting with the new adapter", "advise"):
        run.clock.set(nightly_run_time(sessions[-1]))
        return advise(str(run.workspace.folder), run.workspace.now.isoformat())


def review_block(run: DemoRun, drafting: list[datetime]) -> dict[str, int]:
    """Let the scripted reviewer decide an hour after each close; returns the number of decisions of each kind."""
    total: dict[str, int] = {}
    with run.api.client() as client:
        for moment in drafting:
            run.clock.set(moment + timedelta(hours=1))
            for kind, count in review_ideas(client, moment, run.workspace.now).items():
                total[kind] = total.get(kind, 0) + count
    return total


def summarize_demo(
    workspace: Workspace, nights: list[dict[str, Any]], last: dict[str, Any], events: int
) -> dict[str, Any]:
    """Build the demo's report, as JSON values."""
    from flows.server import prefect_ui_command

    advice = workspace.advice
    outcomes = count_accepted_outcomes(workspace)
    return {
        "workspace": str(workspace.folder),
        "ideas": advice.count(),
        "accepted": advice.count(ACCEPTED_SQL),
        **{name: outcomes[name] for name in ("win", "loss", "breakeven", "open")},
        "shadow_outcomes": advice.count("shadow AND outcome IN ('win', 'loss', 'breakeven')"),
        "events_received": events,
        "pairs": [night["nightly"]["pairs"]["rows"] for night in nights],
        "verdicts": [night["nightly"]["compare"]["note"] for night in nights],
        "adapters": build_adapter_table(workspace),
        "last_advise_adapter": last["adapter"],
        "pages": str(workspace.settings.mlruns / "pages"),
        "commands": {
            "mlflow": workspace.tracking.server_command(),
            "prefect": prefect_ui_command(workspace.settings),
            "review": review_command_line(workspace),
        },
    }


def print_demo(result: dict[str, Any]) -> None:
    """Print the report for a person."""
    from osiris.ui.console import print_report, print_rows

    adapters, commands = result["adapters"], result["commands"]
    print_rows(adapters, "Adapters, newest first")
    print_report(
        {key: value for key, value in result.items() if key not in ("adapters", "commands", "verdicts")},
        "What happened",
    )
    console = Console(soft_wrap=True)
    for name, command in commands.items():
        console.print(f"[bold]{name}[/bold]: ", end="")
        console.print(command, markup=False, highlight=False)


def prepare_demo(folder: Path) -> Workspace:
    """Make a demo workspace in a new or empty folder, with its clock at the first session."""
    folder = create_folder(folder, "--workspace")
    (folder / "osiris.toml").write_text(DEMO_SETTINGS, encoding="utf-8")
    start = datetime.combine(FIRST_SESSION, datetime.min.time(), NEW_YORK)
    return open_workspace(folder, as_utc(start))


def freeze_clock(workspace: Workspace) -> None:
    """Fix the workspace's clock at its last moment, so that the newest ideas can still be reviewed."""
    clock = f"\n[clock]\nas_of = {workspace.now.isoformat()}  # the clock stands here; without this line, now\n"
    write_atomically(workspace.folder / "osiris.toml", DEMO_SETTINGS + clock)


def find_free_folder() -> Path:
    """Return `osiris-demo`, or the first of `osiris-demo-2`, `-3`, ... that does not exist."""
    number = 1
    folder = Path("osiris-demo")
    while folder.exists():
        number += 1
        folder = Path(f"osiris-demo-{number}")
    return folder


def build_starters(workspace: Workspace) -> float:
    """Build the starter models unless they are cached; returns the seconds that this took."""
    from osiris.llm.starter import ensure_starters

    started = time.perf_counter()
    ensure_starters(workspace.settings)
    return time.perf_counter() - started


def demo_sessions(workspace: Workspace, nights: int) -> list[datetime]:
    """Return the session closes (UTC) of all blocks."""
    length = nights * BLOCK_SESSIONS
    start = workspace.now
    # A year has about 252 sessions in 365 days, so twice as many days, and ten for holidays, are always enough.
    closes = closes_between("XNYS", start, start + timedelta(days=2 * length + 10))
    return [moment.to_pydatetime() for moment in closes[:length]]


def nightly_run_time(close: datetime) -> datetime:
    """Return 02:00 in New York on the day after a session, in UTC."""
    next_day = close.astimezone(NEW_YORK) + timedelta(days=1)
    return as_utc(next_day.replace(hour=2, minute=0, second=0, microsecond=0))


def progress_bar() -> Progress:
    """Make the demo's progress display, which goes to stderr."""
    columns = (
        SpinnerColumn(),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, console=Console(file=sys.stderr))

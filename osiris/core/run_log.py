"""The log of a run: the standard `logging`, with the id of the run in each record, and its warnings for its report.

    log = logging.getLogger(__name__)

    with collect_warnings() as notes:
        log.warning("MSFT: no prices from any source")
    notes == ["MSFT: no prices from any source"]

A function that can go on without something logs a warning. The function that makes the report of the run collects
them. Nothing is printed unless `configure_logging` was called: `osiris -v` does it, and each notebook run.
"""

import logging
import re
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

LINE_FORMAT = "%(asctime)s %(run_id)s %(levelname)s %(name)s: %(message)s"
LINE_LEVEL = re.compile(r"\S+ \S+ (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
ROOT = logging.getLogger("osiris")
_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect the warnings that are logged inside, each once, in order.

    The innermost collector gets them. A thread that is started inside has none of its own.
    """
    collected: list[str] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)


def configure_logging(file: Path | None = None) -> None:
    """Write the records of `osiris` from INFO on to stderr, or to the end of `file`; a second call changes nothing.

    The id of the run is the name of the file, or else the moment of this call and a random part. The records of other
    libraries stay what they were.
    """
    if any(handler.get_name() == "osiris" for handler in ROOT.handlers):
        return
    handler = logging.FileHandler(file, encoding="utf-8", delay=True) if file else logging.StreamHandler(sys.stderr)
    handler.set_name("osiris")
    run_id = file.stem if file else f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    formatter = logging.Formatter(LINE_FORMAT, TIME_FORMAT, defaults={"run_id": run_id})
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    ROOT.addHandler(handler)
    ROOT.setLevel(logging.INFO)


def parse_lines(text: str) -> Iterator[tuple[int, str]]:
    """The level and the line of each record of a log; a message of several lines is several of the same level."""
    level = logging.INFO
    for line in text.splitlines():
        if found := LINE_LEVEL.match(line):
            level = logging.getLevelNamesMapping()[found[1]]
        yield level, line


class _Collector(logging.Handler):
    """Puts each warning into the list of the collector that is under way; also keeps unprinted ones off stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Add the message of the record, unless it is there."""
        collected = _collected.get()
        if collected is not None and (message := record.getMessage()) not in collected:
            collected.append(message)


if not any(isinstance(handler, _Collector) for handler in ROOT.handlers):
    ROOT.addHandler(_Collector(logging.WARNING))

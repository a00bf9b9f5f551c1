"""The log of a run: what its report keeps, and what is written where."""

import logging
import re
import subprocess
import sys

from osiris.core.run_log import collect_warnings, parse_lines

log = logging.getLogger("osiris.somewhere")


def test_warnings_are_collected_once_each_in_order_and_nothing_less():
    with collect_warnings() as notes:
        log.warning("%s: no prices", "MSFT")
        log.info("a step")
        log.warning("Redis is away")
        log.warning("MSFT: no prices")
    log.warning("later")
    assert notes == ["MSFT: no prices", "Redis is away"]


def test_a_run_inside_a_run_keeps_its_own():
    with collect_warnings() as outer:
        log.warning("before")
        with collect_warnings() as inner:
            log.warning("inside")
        log.warning("after")
    assert (outer, inner) == (["before", "after"], ["inside"])


def test_nothing_is_printed_unless_it_is_asked_for(capfd):
    with collect_warnings():
        log.warning("kept for the report")
    log.warning("kept by nobody")
    assert capfd.readouterr() == ("", "")


LOGS = """
import logging, sys
from pathlib import Path
from osiris.core.run_log import configure_logging
for _ in range(2):
    configure_logging(*map(Path, sys.argv[1:]))
logging.getLogger("osiris.market").warning("two\\nlines")
logging.getLogger("osiris.market").info("a step")
logging.getLogger("another").warning("not ours")
"""


def printed_by_a_process(*words):
    return subprocess.run([sys.executable, "-c", LOGS, *words], capture_output=True, text=True, check=True).stderr


def test_each_record_has_its_moment_the_run_the_level_and_the_module():
    first, rest, second, *others = printed_by_a_process().splitlines()
    moment, run, level, module, *message = first.split(" ")
    assert (level, module, message, rest) == ("WARNING", "osiris.market:", ["two"], "lines")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)
    assert second.split(" ", 1)[1] == f"{run} INFO osiris.market: a step"
    assert others == ["not ours"]


def test_a_log_in_a_file_is_added_to_and_its_name_is_the_run(tmp_path):
    file = tmp_path / "page.log"
    assert [printed_by_a_process(str(file)) for _ in range(2)] == ["not ours\n"] * 2
    found = [(logging.getLevelName(level), line.split(" ", 1)[-1]) for level, line in parse_lines(file.read_text())]
    written = [
        ("WARNING", "page WARNING osiris.market: two"),
        ("WARNING", "lines"),
        ("INFO", "page INFO osiris.market: a step"),
    ]
    assert found == 2 * written

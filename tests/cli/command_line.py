"""Two ways to give the command line a command: in this process, which takes moments, and in one of its own."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

from osiris.cli import main

OSIRIS = Path(sys.executable).with_name("osiris")


def run_process(*words, cwd, **environment):
    """What a person does: a process, its output, its exit status."""
    return subprocess.run(
        [str(OSIRIS), *words], cwd=cwd, capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


def run_here(*words, cwd, **environment):
    """The same entry point with the same words, output and exit status, without the seconds of imports."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", ["osiris", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())

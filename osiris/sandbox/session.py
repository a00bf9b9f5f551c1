"""A session with a policy that nobody trusts: it runs in the bubblewrap sandbox and answers questions, a line each.

What a session keeps out: access to files, the network, other processes and secrets (in the environment or /proc), too
much memory or processor time, and processes that outlive it. What it does not: an answer that is wrong. That is why the
questions, the prices, the clock and the scores all stay outside, and `policies` checks each answer.

The protocol is strict. An answer repeats the random tag of its question, has exactly the keys `tag` and `value`, and
ends with its line. Anything else ends the session, even one byte more.

Memory is limited in two ways. The address space of the process is limited, and no second process or thread can be
started. Writable files and the other ways to hold memory in Linux (memfd, System V, message queues, large pipes) are
denied. Besides, the reader of an answer measures the memory of the whole sandbox while it waits. Control groups are not
used, because they need rights that an ordinary user seldom has.

An outdated Linux kernel, hardware faults and side channels are not covered. There is no unsafe mode: without bubblewrap
nothing is run.
"""

import json
import os
import secrets
import selectors
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osiris.core.errors import OsirisError
from osiris.sandbox import runner
from osiris.sandbox.bubblewrap import (
    MIB,
    SandboxUnavailable,
    kill_sandboxed,
    require_bubblewrap,
    resident_bytes,
    start_sandboxed,
)

MAX_MEMORY_BYTES = 512 * MIB
"""Address space of the process, Python's own included."""
MAX_CPU_SECONDS = 60
"""Processor time of one session, all its answers together."""
MAX_RESIDENT_BYTES = MAX_MEMORY_BYTES + 64 * MIB
"""Memory that the whole sandbox may hold. The additional 64 MiB are for bubblewrap itself."""
MEMORY_POLL_SECONDS = 0.1
"""How often the reader of an answer measures that memory."""
POLICY_ANSWER_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024
FIRST_ANSWER_SECONDS = 30.0
"""Time for the first answer of a session: starting a process is slow on a busy machine, through no fault of the policy.
"""

SMOKE_TEST_FILES = {"sizing.py": "def size():\n    return 0.0\n"}


class PolicyFailed(OsirisError):
    """A policy raised, took too long, or gave an answer that none may give. Its earlier answers remain valid."""


class CandidateFailed(PolicyFailed):
    """A candidate failed: a policy that is being proved or measured, and is not live."""


class Sandbox:
    """A session with the policy in `files` (text by name); its process is started at the first question."""

    def __init__(self, files: dict[str, str], *, renewable: bool = False) -> None:
        """Remember the files; raises `SandboxUnavailable` where there is no bubblewrap.

        A `renewable` session is restarted before its processor time can run out.
        """
        require_bubblewrap()
        self._files, self._renewable, self._seconds_used = files, renewable, 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "Sandbox":
        """Use it as a context, which ends the session."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the session."""
        self.close()

    def ask(self, call: str, args: Sequence[object]) -> Any:
        """The answer of `call` (features, passes, size) to `args`, as JSON carries it; raises `PolicyFailed`."""
        # The seconds are those of the clock, so at least the processor time. Half leaves room for one more long answer.
        if self._renewable and self._seconds_used > MAX_CPU_SECONDS / 2:
            self.close()
        timeout = POLICY_ANSWER_SECONDS if self._process else FIRST_ANSWER_SECONDS
        process, started = self._process or self._start(), time.monotonic()
        tag = secrets.token_hex(8)
        question = json.dumps({"tag": tag, "call": call, "args": args}, allow_nan=False).encode() + b"\n"
        try:
            send_line(process, question)
            line = read_line(process, timeout, MAX_RESIDENT_BYTES)
            self._seconds_used += time.monotonic() - started
            return _parse_answer(line, tag)
        except (OSError, ValueError) as error:
            self.close()
            raise PolicyFailed(
                f"an answer to {call} as the policy's contract has it", str(error) or "none", "see what it did"
            ) from error

    def close(self) -> None:
        """End the session and everything in it."""
        if self._process is not None:
            kill_sandboxed(self._process)
            self._process, self._seconds_used = None, 0.0
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> "subprocess.Popen[bytes]":
        self._folder = tempfile.TemporaryDirectory(prefix="osiris-candidate-")
        folder = Path(self._folder.name)
        write_files(folder, self._files)
        self._process = start_sandboxed(
            [str(runner.__file__), str(MAX_MEMORY_BYTES), str(MAX_CPU_SECONDS)],
            {folder: "/cand"},
            stdin=subprocess.PIPE,
        )
        return self._process


def check_sandbox() -> None:
    """Ask a trivial policy in the sandbox for an answer; raises `SandboxUnavailable` on a machine where that fails."""
    with Sandbox(SMOKE_TEST_FILES) as sandbox:
        try:
            sandbox.ask("size", [])
        except PolicyFailed as error:
            raise SandboxUnavailable(
                "a sandbox that starts", error.actual, "allow unprivileged user namespaces"
            ) from error


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write files that the user of the sandbox can read."""
    folder.chmod(0o755)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o644)


def send_line(process: "subprocess.Popen[bytes]", line: bytes) -> None:
    """Write one line to a sandboxed process; raises `ValueError` where it was started without a pipe to write to."""
    if process.stdin is None:
        raise ValueError("a process without a pipe to its standard input")
    process.stdin.write(line)
    process.stdin.flush()


def read_line(process: "subprocess.Popen[bytes]", seconds: float, max_bytes: int) -> bytes:
    """Read one line from a sandboxed process.

    Raises `ValueError` for anything else, when the line takes longer than `seconds`, and when the sandbox holds more
    than `max_bytes`. No other watchdog is needed, since nothing runs in a sandbox that was asked nothing.
    """
    pipe, deadline, line = process.stdout, time.monotonic() + seconds, b""
    if pipe is None:
        raise ValueError("a process without a pipe from its standard output")
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            while not selector.select(max(0.0, min(MEMORY_POLL_SECONDS, deadline - time.monotonic()))):
                if time.monotonic() >= deadline:
                    raise ValueError(f"no answer within {seconds:g} s")
                if (now := resident_bytes(process)) > max_bytes:
                    raise ValueError(f"{now // MIB} MiB held in its sandbox, at most {max_bytes // MIB}")
            # A read may return less than a line, or more: the parser then refuses what stands after the line.
            part = os.read(pipe.fileno(), MAX_ANSWER_BYTES)
            if not part:
                raise ValueError("the end of its process: it exited, or was killed for memory or processor time")
            line += part
            if len(line) > MAX_ANSWER_BYTES:
                raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
    return line


def _parse_answer(line: bytes, tag: str) -> Any:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("something that is not one line of JSON") from error
    if isinstance(answer, dict) and answer.keys() == {"tag", "error"} and answer["tag"] == tag:
        raise ValueError(f"an exception, {str(answer['error'])!r}")
    if not isinstance(answer, dict) or answer.keys() != {"tag", "value"} or answer["tag"] != tag:
        raise ValueError("an answer to another question")
    return answer["value"]

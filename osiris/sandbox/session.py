"""The box in which code runs that nobody trusts: bubblewrap, seccomp, limits, no rights, an empty environment.

What it covers: files, network, other processes, secrets in the environment and in /proc, memory, processor time, what
is left running. What it does not: an answer that is wrong. A candidate only answers questions, a JSON line each; who
asks, who keeps the prices and the clock, and who scores, are outside. An answer carries the random tag of its
question, exactly the keys `tag` and `value`, and ends its line; anything else, one byte more too, ends the session. A
second process or thread cannot be made inside, nothing can be written to, and the kernel's other ways to hold memory
(memfd, System V, message queues, large pipes) are denied, so that the limit on address space is one on memory; whoever
waits for an answer looks at what the whole box holds besides. Control groups are not used: they need rights that a
desk's user seldom has. An ancient kernel, hardware faults and side channels are not covered. There is no unsafe mode:
without bubblewrap nothing is run.
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

MAX_MEMORY_BYTES, MAX_CPU_SECONDS = 512 * MIB, 60
"""What one session may use, all its answers together."""
MAX_RESIDENT_BYTES, MEMORY_POLL_SECONDS = MAX_MEMORY_BYTES + 64 * MIB, 0.1
"""What the box may hold in all, bubblewrap included, and how often one who waits for an answer looks."""
POLICY_ANSWER_SECONDS, MAX_ANSWER_BYTES = 5.0, 64 * 1024
FIRST_ANSWER_SECONDS = 30.0
"""For the first answer of a session: a busy machine is slow to start a process, and that is not the policy's fault."""


SMOKE_TEST_FILES = {"sizing.py": "def size():\n    return 0.0\n"}


class PolicyFailed(OsirisError):
    """A policy raised, took too long, or answered what no policy may; what it answered before still stands."""


class CandidateFailed(PolicyFailed):
    """The policy that failed is one that is being judged."""


class Sandbox:
    """A session with the policy in `files` (name to text), in a process that is started at the first question."""

    def __init__(self, files: dict[str, str], *, renewable: bool = False) -> None:
        """Remember the files; raises `NoSandbox` where there is no bubblewrap.

        A `renewed` session is begun anew before its processor time can run out.
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
        if self._renewable and self._seconds_used > MAX_CPU_SECONDS / 2:
            self.close()
        timeout = POLICY_ANSWER_SECONDS if self._process else FIRST_ANSWER_SECONDS
        process, started = self._process or self._start(), time.monotonic()
        tag = secrets.token_hex(8)
        question = json.dumps({"tag": tag, "call": call, "args": args}, allow_nan=False).encode() + b"\n"
        try:
            process.stdin.write(question)
            process.stdin.flush()
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
    """Have a policy answer from the box; raises `NoSandbox` on a machine on which it cannot."""
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


def read_line(process: "subprocess.Popen[bytes]", seconds: float, max_bytes: int) -> bytes:
    """One line of a boxed process and no byte more.

    Raises `ValueError` for anything else, when it takes longer than `seconds`, and when the box holds more than `most`
    bytes: who waits is the watchdog, as nothing runs in a box that was not asked.
    """
    pipe, deadline, line = process.stdout, time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            while not selector.select(max(0.0, min(MEMORY_POLL_SECONDS, deadline - time.monotonic()))):
                if time.monotonic() >= deadline:
                    raise ValueError(f"no answer within {seconds:g} s")
                if (now := resident_bytes(process)) > max_bytes:
                    raise ValueError(f"{now // MIB} MiB held in its box, at most {max_bytes // MIB}")
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

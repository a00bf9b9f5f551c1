"""Kernels that start with their modules imported: forked from a parent process that imported them once.

A nightly run executes four notebooks, and each imported torch, PEFT, TRL and MLflow anew: up to 17 CPU seconds. A fork
takes a tenth of a second. Each notebook still has a process of its own, so none sees what another one did.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner
from traitlets import List, Unicode

from osiris.config.settings import PROJECT_ROOT, given_environment

logger = logging.getLogger(__name__)
PROVISIONER = "osiris-warm"
"""Its name among the entry points of `jupyter_client.kernel_provisioners`."""
COLD_COMMAND = ["-m", "ipykernel_launcher"]
START_SECONDS = 600
"""How long it may import; a loaded machine needs a minute."""
OWN_TO_EACH_KERNEL = {"JPY_PARENT_PID", "JPY_SESSION_NAME", "VOILA_REQUEST_URL"}
"""Variables that Jupyter and Voila set for each kernel."""


class ForkedKernel:
    """A kernel process that is not our child, with what Jupyter asks of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, handle: int) -> None:
        """Watch the process `pid` by its handle, a pidfd."""
        self.pid = pid
        self._handle = handle

    def poll(self) -> int | None:
        """Return None while the process lives, then 0: its status is known to its parent alone."""
        return 0 if select.select([self._handle], [], [], 0)[0] else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended; raises `subprocess.TimeoutExpired`."""
        if not select.select([self._handle], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("kernel", timeout or 0)
        return 0

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process."""
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        """Let go of the process."""
        os.close(self._handle)


class KernelParent:
    """The parent process of warm kernels, started at the first kernel and again where it has become unfit."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connections: list[socket.socket] = []
        self._made_for: tuple[Any, ...] = ()

    def fork_kernel(
        self, arguments: Sequence[str], environment: Mapping[str, str], cwd: str, modules: Sequence[str]
    ) -> ForkedKernel:
        """Start a kernel that has `modules` imported; raises `OSError` where the parent process does not answer."""
        request = {"arguments": list(arguments), "environment": dict(environment), "cwd": cwd, "modules": list(modules)}
        with self._lock:
            try:
                return self._ask(request, environment)
            except OSError:  # it ended unused, or was killed: a new one is asked, once
                self._made_for = ()
                return self._ask(request, environment)

    def _ask(self, request: dict[str, Any], environment: Mapping[str, str]) -> ForkedKernel:
        connection = self._connect(environment)
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer, handles, _, _ = socket.recv_fds(connection, 100, 1)
        if not answer:
            raise ConnectionError("the parent process of the kernels has ended")
        return ForkedKernel(int(answer), handles[0])

    def _connect(self, environment: Mapping[str, str]) -> socket.socket:
        """Return the connection to a parent process that was made by this process, environment and code."""
        # With other variables, a module that was imported before may have read another value than the kernel should.
        given = {
            name: value for name, value in given_environment(environment).items() if name not in OWN_TO_EACH_KERNEL
        }
        needed = (os.getpid(), given, newest_source())
        if self._made_for != needed:
            if self._made_for and self._made_for[0] == os.getpid():
                self._retire()
            self._start(given)
            self._made_for = needed
        return self._connections[-1]

    def _retire(self) -> None:
        """Let the parent process end once its kernels have; closing its connection would end them too."""
        with suppress(OSError):
            self._connections[-1].sendall(b"null\n")

    def _start(self, environment: dict[str, str]) -> None:
        connection, theirs = socket.socketpair()
        connection.settimeout(START_SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.kernel_parent", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._connections.append(connection)


def newest_source() -> float:
    """When the newest of our modules was changed, so that edited code is imported anew (seconds since 1970)."""
    return max(path.stat().st_mtime for folder in ("osiris", "flows") for path in (PROJECT_ROOT / folder).rglob("*.py"))


KERNEL_PARENT = KernelParent()
"""The parent of the warm kernels of this process."""


class WarmProvisioner(LocalProvisioner):
    """Forks a kernel where this is possible, and starts it by itself elsewhere."""

    modules = List(Unicode(), help="the modules that the kernel has imported when it starts").tag(config=True)

    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:
        """Start the kernel; `cmd` is the command of its kernel specification."""
        if sys.platform != "linux" or cmd[:3] != [sys.executable, *COLD_COMMAND]:
            return await super().launch_kernel(cmd, **options)
        cwd = str(options.get("cwd") or Path.cwd())
        try:
            kernel: Any = KERNEL_PARENT.fork_kernel(cmd[3:], options["env"], cwd, self.modules)
        except OSError as error:
            logger.warning("a kernel starts by itself, which takes longer: %s", error)
            return await super().launch_kernel(cmd, **options)
        self.process, self.pid, self.pgid, self.cwd = kernel, kernel.pid, kernel.pid, cwd
        return self.connection_info

"""The parent of warm kernels: `python -m flows.kernel_parent FD`, started by `flows.warm_kernel`.

It imports what a notebook needs and forks a kernel that has it all. It runs no notebook's code itself, so a kernel
starts with clean modules whatever an earlier one did. It ends when the process that started it ends, or unused.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn

from osiris.config.settings import replace_environment, set_environment

IDLE_SECONDS = 600
"""Without a kernel for so long, it ends: what it has imported takes up to a gigabyte."""
POLL_SECONDS = 1
KERNEL_MODULES = ("ipykernel.kernelapp", "ipykernel.ipkernel")
LEFT_TO_THE_KERNEL = ("ipywidgets", "matplotlib_inline.backend_inline")
"""Modules that look for the shell when they are imported, to show widgets and figures in it; only a kernel has one."""
PARENT_VARIABLE = "JPY_PARENT_PID"
"""Names the process with which a kernel ends."""
MATPLOTLIB_BACKEND = "module://matplotlib_inline.backend_inline"


def serve(connection: socket.socket, idle_seconds: float) -> None:
    """Answer each request with a new kernel, until the other side is gone.

    A request is a line of JSON: `arguments`, `environment`, `cwd` and `modules`. The answer is a line with the kernel's
    process id, and a handle (pidfd) of that process. After the request `null`, it ends as soon as its kernels have.
    """
    requests = connection.makefile("rb")
    import_modules(KERNEL_MODULES)
    serving_until = time.monotonic() + idle_seconds
    while has_kernels() or time.monotonic() < serving_until:
        if not select.select([connection], [], [], min(POLL_SECONDS, idle_seconds))[0]:
            continue
        line = requests.readline()
        if not line:
            return
        request = json.loads(line)
        if request is None:
            serving_until = 0.0
            continue
        import_modules(request["modules"])
        child = os.fork()
        if child == 0:
            requests.close()
            connection.close()
            run_kernel(request)
        handle = os.pidfd_open(child)
        socket.send_fds(connection, [f"{child}\n".encode()], [handle])
        os.close(handle)
        serving_until = time.monotonic() + idle_seconds


def has_kernels() -> bool:
    """Whether a kernel lives; those that have ended are collected."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def import_modules(names: Iterable[str]) -> None:
    """Import modules, and call what is named as `module:function`.

    What cannot be imported is left to the notebook, which then says so itself.
    """
    for name in names:
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            found = resolve_name(name)
            if ":" in name:
                found()


def run_kernel(request: dict[str, Any]) -> NoReturn:
    """Become a kernel, in this new process; does not return."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    replace_environment(request["environment"] | {PARENT_VARIABLE: str(os.getppid())})
    if is_unsafe_to_fork():
        os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *request["arguments"]])
    seed_numpy()
    for name in LEFT_TO_THE_KERNEL:
        del sys.modules[name]
    sys.argv = ["ipykernel_launcher", *request["arguments"]]
    from ipykernel.kernelapp import launch_new_instance

    # ipykernel read this when it was imported, from a variable that was not set then.
    launch_new_instance(parent_handle=os.getppid())
    sys.exit()  # as any program ends: what the notebook asked for at the end (`atexit`) is done


def is_unsafe_to_fork() -> bool:
    """Whether an import made a CUDA context, which a fork cannot use."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda._is_in_bad_fork()


def seed_numpy() -> None:
    """Give this kernel random numbers of its own; Python's `random` does this by itself, and torch's are fixed."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def main(descriptor: int, idle_seconds: float = IDLE_SECONDS) -> None:
    """Serve on an inherited socket."""
    # As with a kernel that is started by itself, no module comes from the folder in which it happens to run.
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry) != Path.cwd()]
    set_environment(MPLBACKEND=MATPLOTLIB_BACKEND)
    for name in LEFT_TO_THE_KERNEL:
        sys.modules[name] = None  # type: ignore[assignment] # Python's way to refuse an import
    # LanceDB begins anew in a fork. What it warns of is a fork amid its work, and this process does none.
    warnings.filterwarnings("ignore", "lancedb fork support", RuntimeWarning)
    with socket.socket(fileno=descriptor) as connection:
        serve(connection, idle_seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]))

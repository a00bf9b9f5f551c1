"""The bubblewrap sandbox itself: namespaces, read-only mounts, a seccomp program, a user without rights.

What it keeps out:

- Files: only /usr, this Python and the mounts that the caller names can be seen, all of them read-only.
- The network, other processes and their memory: every namespace is new, and `socket` is denied.
- Secrets: the environment is empty, and /proc shows only the processes of the sandbox.
- Rights: the process is user 65534 without capabilities, and cannot create a user namespace to gain some.
- A second process: `fork` and `clone` are denied. A thread can be started only where the caller allows it.
- Memory that no limit counts: writable file systems, memfd, System V, message queues and large pipes are denied.

What it does not keep out: too much memory or processor time (the limits are in `runner` and `session`), a wrong answer
(see `policies`), a flaw in the Linux kernel, hardware faults and side channels.

bubblewrap is a child of Osiris without any process in between. So killing it ends the sandbox, and so does the end of
Osiris.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import psutil

from osiris.core.errors import OsirisError

NOBODY_ID = 65534
"""The user and group id that Linux reserves for a user without rights."""
MIB = 2**20
DENIED_SYSCALLS = (
    "fork", "vfork", "socket", "socketpair", "ptrace", "process_vm_readv", "process_vm_writev", "mount", "umount2",
    "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick", "pivot_root", "chroot", "unshare", "setns",
    "bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "keyctl",
    "add_key", "request_key", "kexec_load", "init_module", "finit_module", "delete_module", "open_by_handle_at",
    "name_to_handle_at", "personality", "swapon", "swapoff", "reboot", "quotactl", "acct", "pidfd_getfd", "kcmp",
    # memory outside every address space, which RLIMIT_AS therefore does not count, or which outlives its process
    "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "semget", "semop", "msgget", "msgsnd", "mq_open",
    "mq_unlink", "vmsplice", "inotify_init", "inotify_init1", "fanotify_init", "landlock_create_ruleset",
    "timer_create", "mlock", "mlock2", "mlockall", "seccomp",
)  # fmt: skip
"""Denied with EPERM. Everything else is allowed, so that Python itself runs; the namespaces limit what is left."""
CLONE_THREAD = 0x10000
"""The flag of `clone` (linux/sched.h) that makes a thread instead of a process."""
F_SETPIPE_SZ = 1031
"""The command of `fcntl` (linux/fcntl.h) that enlarges a pipe, whose buffer is memory that no limit counts."""
STAGING_FOLDER = "/mnt"
STAGING_SCRIPT = f"""set -e
mount -t tmpfs -o mode=755 tmpfs {STAGING_FOLDER}
place=0
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir "{STAGING_FOLDER}/$place"; else : > "{STAGING_FOLDER}/$place"; fi
  mount --bind "$1" "{STAGING_FOLDER}/$place"
  place=$((place + 1))
  shift
done
shift
exec "$@"
"""
"""Mounts each argument before `--` under a number in `STAGING_FOLDER`, then becomes the program after it."""
INSTALL_HINT = "install it (Debian: apt-get install bubblewrap libseccomp2)"


class SandboxUnavailable(OsirisError):
    """This machine cannot make a sandbox; nothing was run."""


def require_bubblewrap() -> str:
    """The path of bubblewrap; raises `SandboxUnavailable` with the line that installs it."""
    path = shutil.which("bwrap")
    if path is None:
        raise SandboxUnavailable("bubblewrap, without which no candidate is run", "no bwrap on the PATH", INSTALL_HINT)
    return path


def start_sandboxed(
    program: list[str], mounts: dict[Path, str], stdin: int, *, allow_threads: bool = False
) -> "subprocess.Popen[bytes]":
    """Start this Python in the sandbox on `program`, a file and its arguments.

    `mounts` maps each file or folder that the program may read to its path inside. Threads are denied unless
    `allow_threads` is set, since each holds memory in the Linux kernel that no limit counts.
    Raises `SandboxUnavailable` where there is no bubblewrap or no libseccomp.
    """
    script, *arguments = program
    prefix = Path(sys.base_prefix).resolve()
    script_mount = f"/osiris/{Path(script).name}"
    mounts = {Path(script).resolve(): script_mount, prefix: str(prefix), **mounts}
    bubblewrap = require_bubblewrap()
    with tempfile.TemporaryFile() as rules:
        _write_seccomp_program(rules, allow_threads)
        outer, sources = _drop_root(list(mounts)) if os.getuid() == 0 else ([], list(map(str, mounts)))
        binds = _read_only_binds(zip(sources, mounts.values(), strict=True))
        python = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]  # typeshed lacks it
        # Like `-I`, which would ignore PYTHONHASHSEED too: no user site, no script folder on the path, no .pyc files.
        inside = [str(python), "-s", "-P", "-S", "-B", script_mount, *arguments]
        command = [*outer, bubblewrap, *_bubblewrap_options(binds), "--seccomp", str(rules.fileno()), "--", *inside]
        return subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/",
            pass_fds=[rules.fileno()],
        )  # fmt: skip


def resident_bytes(process: "subprocess.Popen[bytes]") -> int:
    """The bytes that a sandboxed process and all its descendants hold now; shared memory counts once for each."""
    total = 0
    try:
        root = psutil.Process(process.pid)
        for one in (root, *root.children(recursive=True)):
            try:
                total += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:
        return 0
    return total


def kill_sandboxed(process: "subprocess.Popen[bytes]") -> None:
    """Kill a sandboxed process, and with it everything in its sandbox."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # closing writes out a question that is still buffered, and its reader is gone
                continue
    process.wait()


def _read_only_binds(mounts: Iterable[tuple[str, str]]) -> list[str]:
    return [part for source, path_inside in mounts for part in ("--ro-bind", source, path_inside)]


def _bubblewrap_options(binds: list[str]) -> list[str]:
    return [
        "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
        "--cap-drop", "ALL", "--clearenv", "--setenv", "PATH", "/usr/bin",
        "--setenv", "PYTHONHASHSEED", "0",  # otherwise the order of a set of texts differs from session to session
        "--uid", str(NOBODY_ID), "--gid", str(NOBODY_ID),
        "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
        "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev",
        # Nothing in the sandbox can be written: a file in a tmpfs is memory that no limit counts, and even an empty
        # file takes memory of the Linux kernel. So /dev and the root are made read-only after all mounts are in place.
        "--remount-ro", "/dev", "--dir", "/tmp", *binds, "--chdir", "/tmp", "--remount-ro", "/",
    ]  # fmt: skip


def _drop_root(folders: list[Path]) -> tuple[list[str], list[str]]:
    """For root: the command that gives up root's rights before bubblewrap runs, and where it mounts each of `folders`.

    They are mounted again under `STAGING_FOLDER`, since the unprivileged user may be unable to enter their parents.

    Each program replaces itself by the next (`exec`) and none starts a child. `--die-with-parent` sends a signal when
    the parent ends, and a parent without rights cannot signal another user's process. With a process in between, the
    sandbox would survive Osiris.
    """
    staged = [f"{STAGING_FOLDER}/{number}" for number, _ in enumerate(folders)]
    setpriv = [
        "setpriv", f"--reuid={NOBODY_ID}", f"--regid={NOBODY_ID}", "--clear-groups", "--bounding-set=-all",
        "--inh-caps=-all", "--no-new-privs", "--pdeathsig=KILL",
    ]  # fmt: skip
    mounts = ["unshare", "--mount", "--propagation=private", "sh", "-c", STAGING_SCRIPT, "sh", *map(str, folders), "--"]
    return [*mounts, *setpriv], staged


def _write_seccomp_program(file: IO[bytes], allow_threads: bool) -> None:
    """Write the seccomp program: no second process, no socket, none of the `DENIED_SYSCALLS`."""
    try:
        import pyseccomp as seccomp
    except (ImportError, OSError, RuntimeError) as error:
        raise SandboxUnavailable("libseccomp, without which no candidate is run", str(error), INSTALL_HINT) from error
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in DENIED_SYSCALLS:  # ERRNO(1) is EPERM
        rules.add_rule(seccomp.ERRNO(1), name)
    if allow_threads:  # a `clone` without the flag for a thread would make a process
        rules.add_rule(seccomp.ERRNO(1), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    else:
        rules.add_rule(seccomp.ERRNO(1), "clone")
    rules.add_rule(seccomp.ERRNO(1), "fcntl", seccomp.Arg(1, seccomp.EQ, F_SETPIPE_SZ))
    rules.add_rule(seccomp.ERRNO(38), "clone3")  # ENOSYS: glibc then uses clone, whose flags a seccomp rule can read
    rules.export_bpf(file)
    file.seek(0)

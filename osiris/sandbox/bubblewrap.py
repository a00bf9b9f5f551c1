"""What the sandbox is made of: bubblewrap's walls, a seccomp program, a user without rights.

Nothing stands between Osiris and the box but bubblewrap, so that the box ends with a kill of that, and with Osiris.
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
MIB = 2**20
DENIED_SYSCALLS = (
    "fork", "vfork", "socket", "socketpair", "ptrace", "process_vm_readv", "process_vm_writev", "mount", "umount2",
    "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick", "pivot_root", "chroot", "unshare", "setns",
    "bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "keyctl",
    "add_key", "request_key", "kexec_load", "init_module", "finit_module", "delete_module", "open_by_handle_at",
    "name_to_handle_at", "personality", "swapon", "swapoff", "reboot", "quotactl", "acct", "pidfd_getfd", "kcmp",
    # memory that the address space of no process counts, or that outlives it
    "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "semget", "semop", "msgget", "msgsnd", "mq_open",
    "mq_unlink", "vmsplice", "inotify_init", "inotify_init1", "fanotify_init", "landlock_create_ruleset",
    "timer_create", "mlock", "mlock2", "mlockall", "seccomp",
)  # fmt: skip
CLONE_THREAD, F_SETPIPE_SZ = 0x10000, 1031
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
INSTALL_HINT = "install it (Debian: apt-get install bubblewrap libseccomp2)"


class SandboxUnavailable(OsirisError):
    """This machine lacks what the sandbox is made of; nothing was run."""


def require_bubblewrap() -> str:
    """The path of bubblewrap; raises `NoSandbox` with the line that installs it."""
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxUnavailable("bubblewrap, without which no candidate is run", "no bwrap on the PATH", INSTALL_HINT)
    return found


def start_sandboxed(
    program: list[str], mounts: dict[Path, str], stdin: int, *, allow_threads: bool = False
) -> "subprocess.Popen[bytes]":
    """Start this Python on `program` (a file and its arguments) in the box; `shown` are folders and where they appear.

    Without `threads` it can make none: each has memory in the kernel that no limit counts.
    Raises `NoSandbox` where there is no bubblewrap or no libseccomp.
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
        python = Path(sys._base_executable).resolve()
        inside = [str(python), "-s", "-P", "-S", "-B", script_mount, *arguments]  # as -I, which ignores the seed too
        command = [*outer, bubblewrap, *_bubblewrap_options(binds), "--seccomp", str(rules.fileno()), "--", *inside]
        return subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/",
            pass_fds=[rules.fileno()],
        )  # fmt: skip


def resident_bytes(process: "subprocess.Popen[bytes]") -> int:
    """Bytes that a boxed process and all that is in its box hold now, shared ones included."""
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
    """Kill a boxed process, and with it all that is in its box."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # a question that nobody will read
                continue
    process.wait()


def _read_only_binds(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [part for source, place in pairs for part in ("--ro-bind", source, place)]


def _bubblewrap_options(binds: list[str]) -> list[str]:
    return [
        "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
        "--cap-drop", "ALL", "--clearenv", "--setenv", "PATH", "/usr/bin",
        "--setenv", "PYTHONHASHSEED", "0",  # else the order of a set of texts is another in each session
        "--uid", str(NOBODY_ID), "--gid", str(NOBODY_ID),
        "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
        "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev",
        # Nothing in the box can be written to: a file in a tmpfs is memory, and an empty one is memory of the kernel.
        "--remount-ro", "/dev", "--dir", "/tmp", *binds, "--chdir", "/tmp", "--remount-ro", "/",
    ]  # fmt: skip


def _drop_root(folders: list[Path]) -> tuple[list[str], list[str]]:
    """For root: give up its rights before the box is made, with `folders` where another user can reach them.

    Each program becomes the next, none starts it: a death signal is not delivered to another user's process by a
    parent without rights, so that one of bubblewrap's own between Osiris and the box would let the box survive it.
    """
    places = [f"{STAGING_FOLDER}/{number}" for number, _ in enumerate(folders)]
    setpriv = [
        "setpriv", f"--reuid={NOBODY_ID}", f"--regid={NOBODY_ID}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
        "--no-new-privs", "--pdeathsig=KILL",
    ]  # fmt: skip
    mounts = ["unshare", "--mount", "--propagation=private", "sh", "-c", STAGING_SCRIPT, "sh", *map(str, folders), "--"]
    return [*mounts, *setpriv], places


def _write_seccomp_program(file: IO[bytes], allow_threads: bool) -> None:
    """Write the seccomp program: no second process, no socket, no kernel interface that a policy has no use for."""
    try:
        import pyseccomp as seccomp
    except (ImportError, OSError, RuntimeError) as error:
        raise SandboxUnavailable("libseccomp, without which no candidate is run", str(error), INSTALL_HINT) from error
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in DENIED_SYSCALLS:
        rules.add_rule(seccomp.ERRNO(1), name)
    if allow_threads:
        rules.add_rule(seccomp.ERRNO(1), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    else:
        rules.add_rule(seccomp.ERRNO(1), "clone")
    rules.add_rule(seccomp.ERRNO(1), "fcntl", seccomp.Arg(1, seccomp.EQ, F_SETPIPE_SZ))
    rules.add_rule(seccomp.ERRNO(38), "clone3")  # glibc then falls back on clone, whose flags can be read
    rules.export_bpf(file)
    file.seek(0)

"""The policy's own git repository in the workspace: every applied patch is a commit, and the live policy is HEAD's.

The repository is bare, so no file can be half changed: a commit is made completely before it is live, and going live is
one compare-and-set of the branch. Hooks and the user's git configuration are ignored.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from osiris.core.errors import BadInput, Conflict, WorkspaceError
from osiris.core.files import write_atomically
from osiris.policy import HOW_TO_CHANGE, PATCHABLE_FILES, edited_files, shipped_files

LIVE_BRANCH = "refs/heads/live"
SHIPPED_COMMIT_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""The fixed date of the first commit: so the same shipped policy has the same commit in every workspace."""
NO_PATCH = "none"
SHIPPED_MESSAGE = f"The policy as it is shipped\n\nPatch-Id: {NO_PATCH}\n"
GIT_OPTIONS = {
    "core.fsync": "all", "core.hooksPath": os.devnull, "core.autocrlf": "false", "user.name": "Osiris",
    "user.email": "osiris@localhost", "gc.auto": "0", "init.defaultBranch": "live", "core.quotePath": "false",
}  # fmt: skip


class PatchDoesNotApply(Exception):
    """A diff that git does not apply; the message is git's own."""


@dataclass(frozen=True)
class PolicyVersion:
    """One commit of the policy; `patch_id` is the newest patch that is live in it."""

    commit: str
    patch_id: str | None
    files: dict[str, str]

    def changed_files(self, files: dict[str, str]) -> list[str]:
        """The names of the policy's files that differ in `files`."""
        return [name for name in PATCHABLE_FILES if files[name] != self.files[name]]


class PolicyRepo:
    """The repository in `folder`. The first use makes it, with the shipped policy as its first commit."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; nothing is read yet."""
        self.folder = folder

    def head(self) -> PolicyVersion:
        """The live policy."""
        return self.version(self._git("rev-parse", LIVE_BRANCH).strip())

    def version(self, commit: str) -> PolicyVersion:
        """The policy as it was at `commit`."""
        message = self._git("log", "-1", "--format=%B", commit)
        named = re.findall(r"^Patch-Id: (\S+)$", message, re.M)[-1:]
        return PolicyVersion(commit, None if named in ([], [NO_PATCH]) else named[0], self._files(f"{commit}^{{tree}}"))

    def commit_shipped(self, parent: str | None = None) -> str:
        """Commit the policy as this version of Osiris ships it; without a `parent`, as the first of a new repository.

        Raises `WorkspaceError` if the files were edited in place, since nobody proved those.
        """
        if edited := edited_files():
            raise WorkspaceError("the policy as Osiris ships it", f"other files: {', '.join(edited)}", HOW_TO_CHANGE)
        return self.commit(shipped_files(), parent, SHIPPED_MESSAGE, SHIPPED_COMMIT_TIME)

    def follow_upgrade(self) -> None:
        """If no patch is live, make the shipped policy live: an upgrade of Osiris may have brought another one.

        An edit of the files in place is no upgrade. Callers hold the kernel's lock.
        """
        live = self.head()
        if live.patch_id is None and live.files != shipped_files() and not edited_files():
            self.set_live(self.commit_shipped(live.commit), live.commit)

    def record_failure(self, commit: str, error: str) -> None:
        """Note for the next turn that a version failed to answer; a version that is not live is ignored."""
        if self.head().commit != commit:
            return
        write_atomically(
            self.folder.with_name("policy.failed.json"), json.dumps({"commit": commit, "error": error[:300]})
        )

    def last_failure(self) -> dict[str, str] | None:
        """The last failure that was noted, `{commit, error}`; `None` without one."""
        path = self.folder.with_name("policy.failed.json")
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def copy_to(self, folder: Path) -> None:
        """Clone the live policy into a new `folder`, where `git diff` makes patches."""
        self._ensure_exists()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInput("a new or empty folder", str(folder), "name another one")
        result = run_git(["clone", "--quiet", "--branch", "live", str(self.folder.resolve()), str(folder.resolve())])
        if result.returncode:
            raise WorkspaceError(
                f"a policy repository that can be copied to {folder}", _git_message(result), "name another one"
            )

    def apply_diff(self, commit: str, diff: str, *, exact_lines: bool = False) -> dict[str, str]:
        """The files at `commit` with all of `diff` applied; raises `PatchDoesNotApply`.

        With `exact_lines` the diff may lack lines of context. It then has to fit at exactly the lines that it names.
        Nothing is checked out: git applies the diff to a temporary index that contains only the policy's files.
        """
        with tempfile.TemporaryDirectory() as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            self._git("read-tree", commit, env=index)
            for check in (["--check"], []):
                result = self._run(
                    [
                        "apply",
                        "--cached",
                        *check,
                        *(["--unidiff-zero"] if exact_lines else []),
                        f"-p{strip_count(diff)}",
                        "-",
                    ],
                    diff,
                    index,
                )
                if result.returncode:
                    raise PatchDoesNotApply(_git_message(result))
            listed = self._git("ls-files", "--stage", "-z", env=index).split("\0")[:-1]
            modes = {line.split("\t", 1)[1]: line.split(" ", 1)[0] for line in listed}
            if modes != dict.fromkeys(PATCHABLE_FILES, "100644"):
                raise PatchDoesNotApply(
                    f"it would leave other files than {', '.join(PATCHABLE_FILES)}: {', '.join(sorted(modes))}"
                )
            return self._files(self._git("write-tree", env=index).strip())

    def commit(self, files: dict[str, str], parent: str | None, message: str, at: datetime) -> str:
        """Make a commit without making it live; the same arguments give the same commit."""
        with tempfile.TemporaryDirectory() as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            for name, text in files.items():
                blob = self._git("hash-object", "-w", "--stdin", text=text).strip()
                self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", env=index)
            tree = self._git("write-tree", env=index).strip()
        dates = {name: at.isoformat() for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE")}
        before = ["-p", parent] if parent else []
        return self._git("commit-tree", tree, *before, text=message, env=dates).strip()

    def set_live(self, commit: str, before: str) -> None:
        """Make `commit` the live policy if `before` is live now; raises `Conflict`. Callers hold the kernel's lock."""
        # Locks of a killed git. No running git holds one: callers hold the kernel's lock, and nobody else writes.
        for name in (LIVE_BRANCH, "HEAD", "packed-refs"):
            (self.folder / f"{name}.lock").unlink(missing_ok=True)
        result = self._run(["update-ref", LIVE_BRANCH, commit, before])
        if result.returncode:
            raise Conflict(
                f"a live policy at {before[:12]}", _git_message(result), "see `git log` in the policy's repository"
            )

    def _files(self, tree: str) -> dict[str, str]:
        return {name: self._git("cat-file", "blob", f"{tree}:{name}") for name in PATCHABLE_FILES}

    def _git(self, *arguments: str, text: str | None = None, env: dict[str, str] | None = None) -> str:
        self._ensure_exists()
        result = self._run(list(arguments), text, env)
        if result.returncode:
            raise WorkspaceError(
                f"a policy repository that git can read in {self.folder}",
                _git_message(result),
                "restore it from a backup",
            )
        return result.stdout

    def _run(
        self, arguments: list[str], text: str | None = None, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return run_git(["--git-dir", str(self.folder), *arguments], text, env)

    def _ensure_exists(self) -> None:
        """Make the repository under another name and rename it, so that it exists completely or not at all."""
        if self.folder.exists():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix=".policy-") as scratch:
            draft = PolicyRepo(Path(scratch) / "policy.git")
            run_git(["init", "--quiet", "--bare", "--template=", str(draft.folder)]).check_returncode()
            draft._git("update-ref", LIVE_BRANCH, draft.commit_shipped())
            draft._git("symbolic-ref", "HEAD", LIVE_BRANCH)
            try:
                draft.folder.rename(self.folder)
            except OSError:
                if not self.folder.exists():  # otherwise another process made it first, with the same commit
                    raise


def run_git(
    arguments: list[str], text: str | None = None, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run git without its caller's configuration; raises `WorkspaceError` if there is no git."""
    git = shutil.which("git")
    if git is None:
        raise WorkspaceError("git, which keeps the policy's history", "none on the PATH", "Debian: apt-get install git")
    options = [part for name, value in GIT_OPTIONS.items() for part in ("-c", f"{name}={value}")]
    environment = {"PATH": os.defpath, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [git, *options, *arguments], input=text, env=environment | (env or {}), cwd="/", capture_output=True,
        encoding="utf-8", errors="replace",
    )  # fmt: skip


def strip_count(diff: str) -> int:
    """How many folders git removes from the paths of a diff: 1 for `a/gate.py`, 3 for `a/osiris/policy/gate.py`."""
    return 3 if re.search(r"^\+\+\+ b/osiris/policy/", diff, re.M) else 1


def _git_message(result: "subprocess.CompletedProcess[str]") -> str:
    return " ".join((result.stderr or result.stdout).split())[:500]

"""Unified diffs as people make them: of a checkout, of an installed Osiris, by git or diff, with the ends they have."""

import re

from osiris.policy import PATCHABLE

ONE_FILE = re.compile(r"^(?:--- (?P<old>[^\n]*)\n\+\+\+ (?P<new>[^\n]*)\n)", re.M)
BY_GIT = re.compile(r"^diff --git [^\n]*$", re.M)
MORE_THAN_LINES = re.compile(
    r"^(?:new file mode|deleted file mode|old mode|new mode|rename |copy |GIT binary|Binary files|--- /dev/null"
    r"|\+\+\+ /dev/null)", re.M,
)  # fmt: skip


def plain_diff(text: str) -> str:
    """A diff with plain line ends and with the policy's names in its headers, as in `a/gate.py`.

    One that does more than change lines, or names no file of the policy, keeps its headers: it is refused by them.
    """
    text = re.sub(r"\r\n?", "\n", text)
    text = text if text.endswith("\n") else f"{text}\n"
    if MORE_THAN_LINES.search(text):
        return text
    names = [_name(found["old"], found["new"]) for found in ONE_FILE.finditer(text)]
    if not names or not all(names):
        return text
    told = iter(names)
    text = ONE_FILE.sub(lambda _: "--- a/{0}\n+++ b/{0}\n".format(next(told)), text)
    if len(BY_GIT.findall(text)) == len(names):
        told = iter(names)
        text = BY_GIT.sub(lambda _: "diff --git a/{0} b/{0}".format(next(told)), text)
    return text


def has_no_context(diff: str) -> bool:
    """Whether a diff was made with no lines around the changed ones (`-U0`), which git has to be told."""
    return not re.search(r"^ ", diff, re.M)


def _name(old: str, new: str) -> str:
    """The file of the policy that two headers mean; empty for none, or for two."""
    found = {last for header in (old, new) if (last := _last(header)) in PATCHABLE}
    return found.pop() if len(found) == 1 else ""


def _last(header: str) -> str:
    path = header.split("\t")[0].strip().strip('"')
    return "" if ".." in path.split("/") else path.split("/")[-1].split("\\")[-1]

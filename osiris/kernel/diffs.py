"""Unified diffs as people make them, brought into one form.

They come from a checkout or an installed Osiris, from git or diff, with any line ends.
"""

import re

from osiris.policy import PATCHABLE_FILES

FILE_HEADERS = re.compile(r"^(?:--- (?P<old>[^\n]*)\n\+\+\+ (?P<new>[^\n]*)\n)", re.M)
GIT_HEADER = re.compile(r"^diff --git [^\n]*$", re.M)
UNSUPPORTED_CHANGE = re.compile(
    r"^(?:new file mode|deleted file mode|old mode|new mode|rename |copy |GIT binary|Binary files|--- /dev/null"
    r"|\+\+\+ /dev/null)", re.M,
)  # fmt: skip


def normalize_diff(text: str) -> str:
    """A diff with plain line ends, and with headers such as `--- a/gate.py` whatever its paths were.

    A diff that does more than change lines, or names no file of the policy, keeps its headers. It is refused by them
    later.
    """
    text = re.sub(r"\r\n?", "\n", text)
    text = text if text.endswith("\n") else f"{text}\n"
    if UNSUPPORTED_CHANGE.search(text):
        return text
    names = [_policy_file(found["old"], found["new"]) for found in FILE_HEADERS.finditer(text)]
    if not names or not all(names):
        return text
    next_names = iter(names)
    text = FILE_HEADERS.sub(lambda _: "--- a/{0}\n+++ b/{0}\n".format(next(next_names)), text)
    if len(GIT_HEADER.findall(text)) == len(names):
        next_names = iter(names)
        text = GIT_HEADER.sub(lambda _: "diff --git a/{0} b/{0}".format(next(next_names)), text)
    return text


def has_no_context(diff: str) -> bool:
    """Whether a diff was made with no lines around the changed ones (`-U0`); git needs an option for such a diff."""
    return not re.search(r"^ ", diff, re.M)


def _policy_file(old: str, new: str) -> str:
    """The file of the policy that the two headers name; empty for no such file, or for two."""
    names = {name for header in (old, new) if (name := _base_name(header)) in PATCHABLE_FILES}
    return names.pop() if len(names) == 1 else ""


def _base_name(header: str) -> str:
    path = header.split("\t")[0].strip().strip('"')
    return "" if ".." in path.split("/") else path.split("/")[-1].split("\\")[-1]

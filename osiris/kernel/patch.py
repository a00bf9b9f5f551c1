"""A patch: a unified diff of one file of the policy, as people and drafters put it in the queue.

In the queue it is JSON, `{target, before, after, diff, sig?, by?}`: the file's name, its text before and after, and the
diff between them. `sig` is the HMAC-SHA256 of the rest under `kernel.key`. It protects a queue that other people can
write to.
"""

import ast
import difflib
import hashlib
import hmac
import json
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from osiris.core.errors import BadInput
from osiris.core.ideas import stable_hash
from osiris.kernel.diffs import has_no_context, normalize_diff
from osiris.kernel.repo import PatchDoesNotApply, PolicyRepo, PolicyVersion, run_git, strip_count
from osiris.policy import PATCHABLE_FILES
from osiris.sandbox.checkers import PatchRefused
from osiris.sandbox.static_syntax import is_docstring

MAX_PATCH_CHARACTERS = 100_000
MAX_AUTHOR_CHARACTERS = 80
PolicyFileName = Literal["context.py", "gate.py", "sizing.py"]
PatchText = Annotated[str, StringConstraints(max_length=MAX_PATCH_CHARACTERS)]


class Patch(BaseModel):
    """A patch as it is queued; `by` names its author: a person, `mutation` or a model."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    target: PolicyFileName
    before: PatchText
    after: PatchText
    diff: Annotated[PatchText, StringConstraints(min_length=1)]
    sig: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    by: Annotated[str, StringConstraints(pattern=rf"^[\w .:@/+-]{{1,{MAX_AUTHOR_CHARACTERS}}}$")] = "anonymous"

    @property
    def id(self) -> str:
        """Twelve hex digits of the change itself: the same for every author, layout, comment and form of the diff."""
        return stable_hash("patch", self.target, normalize_source(self.before), normalize_source(self.after))[:12]

    def to_json(self) -> str:
        """The patch as JSON for the queue."""
        return json.dumps(self.model_dump(exclude_none=True), sort_keys=True)

    def with_signature(self, key: str) -> "Patch":
        """The patch with its signature; the patch unchanged if the key is empty."""
        return self.model_copy(update={"sig": _signature(self, key)}) if key else self


def normalize_source(text: str) -> str:
    """A file's syntax tree as text, without comments, layout and docstrings; the file itself if it does not parse."""
    try:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module):  # the docstrings of the file and of its constants
                node.body = [one for one in node.body if not is_docstring(one)]
            elif isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        return ast.dump(tree)
    except (
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ):  # such as a sum of 1,000 terms, or a number of 5,000 digits
        return text


def parse_patch(item: str, key: str = "") -> Patch:
    """Read an item of the queue; raises `PatchRefused` if it is no patch, or has no valid signature under a `key`."""
    # A quarter each for `before`, `after` and `diff`; the rest is for the other fields.
    if len(item) > 4 * MAX_PATCH_CHARACTERS:
        raise PatchRefused(f"{len(item)} characters, at most {4 * MAX_PATCH_CHARACTERS}")
    try:
        patch = Patch(**_parse_object(item))
    except ValidationError as error:
        first = error.errors()[0]
        raise PatchRefused(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if key and not hmac.compare_digest(patch.sig or "", _signature(patch, key)):
        raise PatchRefused("sig: not the signature of this patch under kernel.key")
    return patch


def patch_from_diff(diff: str, live: PolicyVersion, repo: PolicyRepo, by: str, key: str = "") -> Patch:
    """The patch that applies a diff of any form to the live policy; raises `BadInput` if it does not apply."""
    normalized = normalize_diff(diff)
    try:
        after = repo.apply_diff(live.commit, normalized, exact_lines=has_no_context(normalized))
    except PatchDoesNotApply as error:
        raise BadInput(
            f"a unified diff of one of {', '.join(PATCHABLE_FILES)} as it is live", str(error),
            "make it in a copy of the live policy: osiris kernel edit FOLDER, then git -C FOLDER diff",
        ) from error  # fmt: skip
    changed = live.changed_files(after)
    if len(changed) != 1:
        raise BadInput("a diff that changes one file", ", ".join(changed) or "none", "split it")
    (target,) = changed
    try:
        return patch_from_text(target, after[target], live, by, key)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{first['loc'][0]}: {first['msg']}", repr(first["input"])[:80], "correct it") from error


def patch_from_text(target: str, after: str, live: PolicyVersion, by: str, key: str = "") -> Patch:
    """The patch that replaces the text of the live file `target` by `after`."""
    before = live.files[target]
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{target}", f"b/{target}"
    )
    diff = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    name = cast(PolicyFileName, target)  # pydantic checks it
    return Patch(target=name, before=before, after=after, diff=diff, by=by).with_signature(key)


def list_touched_files(diff: str) -> list[str]:
    """The files that git would change for a diff, sorted; raises `PatchRefused` if git cannot read it as a diff."""
    result = run_git(["apply", "--numstat", "-z", f"-p{strip_count(diff)}", "-"], diff)
    if result.returncode:
        raise PatchRefused(" ".join(result.stderr.split())[:300])
    fields = result.stdout.split("\0")[:-1]
    return sorted({field.split("\t")[-1] for field in fields if field.split("\t")[-1]})


def _parse_object(item: str) -> dict[str, Any]:
    try:
        value = json.loads(item)
    except (ValueError, RecursionError) as error:
        raise PatchRefused(f"no JSON: {error}") from error
    if not isinstance(value, dict):
        raise PatchRefused("no JSON object")
    return value


def _signature(patch: Patch, key: str) -> str:
    text = json.dumps(patch.model_dump(exclude={"sig"}), sort_keys=True)
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()

"""Proving: may this patch be run at all? Every check has to pass; each has a name and a time.

The first checks only read the patch. A patch that passes them is run, in the sandbox: the policy's own tests ask it
questions from outside, and CrossHair searches inside for numbers with which it breaks a law. Hermes is asked last.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from osiris.config.sections import KernelSettings
from osiris.kernel.patch import list_touched_files
from osiris.kernel.repo import PatchDoesNotApply, PolicyRepo, PolicyVersion
from osiris.llm import hermes
from osiris.llm.models import AnyJudge
from osiris.policy import PATCHABLE_FILES
from osiris.sandbox.checkers import POLICY_TESTS, PatchRefused, run_checker, run_python, temporary_files
from osiris.sandbox.laws import check_laws
from osiris.sandbox.session import check_sandbox
from osiris.sandbox.static import find_problems

PROVED, REFUSED = "proved", "refused"
RUFF_RULES = ["E", "F", "W", "I", "B", "UP", "SIM", "RUF", "D1", "C4"]
IGNORED_RUFF_RULES = ["RUF001", "RUF002", "RUF003", "RUF005", "RUF007", "RUF015", "UP031"]
"""Rules on style alone. They demand what the static check refuses, or another way to write the same."""
MYPY_OPTIONS = [
    "--strict",
    "--config-file=",
    "--no-incremental",
    "--no-error-summary",
    "--hide-error-context",
    "--no-site-packages",
    "--no-warn-return-any",  # a float to the power of a float is Any to mypy
]
MAX_TEST_SECONDS = 180
MAX_CHECK_CHARACTERS = 400
PATCH_CONTEXT = "A patch of the trading policy"


@dataclass(frozen=True)
class ProofCheck:
    """One check: its result, and how long it took."""

    name: str
    passed: bool
    detail: str
    seconds: float


@dataclass
class Proof:
    """The result of proving; `files` are the policy with the patch applied, `hermes` is the judge's number, 0-10."""

    checks: list[ProofCheck] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    hermes: int | None = None

    @property
    def verdict(self) -> str:
        """`proved`, or `refused` when a check failed."""
        return PROVED if self.checks and all(check.passed for check in self.checks) else REFUSED

    @property
    def reason(self) -> str:
        """The first failed check and its message; empty for a proved patch."""
        return next((f"{check.name}: {check.detail}" for check in self.checks if not check.passed), "")

    def as_dict(self) -> dict[str, Any]:
        """The proof with values that JSON can hold."""
        return {"verdict": self.verdict, "checks": [asdict(check) for check in self.checks]}


def prove_diff(
    diff: str,
    live: PolicyVersion,
    repo: PolicyRepo,
    judge: AnyJudge,
    settings: KernelSettings,
    progress: Callable[[str], None] = lambda _: None,
) -> Proof:
    """Prove a diff of the live policy; raises `SandboxUnavailable` on a machine without bubblewrap.

    `progress` is called with each check's name before the check.
    """
    check_sandbox()
    proof = Proof()

    def apply() -> str:
        proof.files = repo.apply_diff(live.commit, diff)
        return ""

    def find_changed_file() -> str:
        names = live.changed_files(proof.files)
        if len(names) != 1:
            raise PatchRefused(f"it changes {', '.join(names) or 'nothing'}; a patch changes one file")
        return names[0]

    def ask_judge() -> str:
        proof.hermes, detail = _ask_judge(diff, judge, settings)
        return detail

    # A stage is run only if all before it passed, since its checks rely on them. Within a stage all checks are run, so
    # that an author sees every fault at once.
    stages: list[list[tuple[str, Callable[[], str]]]] = [
        [("size", lambda: _size(diff, settings)), ("paths", lambda: _paths(diff))],
        [("applies", apply)],
        [
            ("changes", find_changed_file),
            ("compiles", lambda: _compiles(proof.files)),
            ("static", lambda: _static(proof.files)),
            ("ruff", lambda: _ruff(proof.files)),
            ("types", lambda: _types(proof.files)),
        ],
        [("tests", lambda: _tests(proof.files))],
        [("contracts", lambda: check_laws(proof.files, settings.symbolic_seconds))],
        [("hermes", ask_judge)],
    ]
    for stage in stages:
        failed_check = proof.reason.partition(":")[0]
        for name, check in stage:
            progress(name)
            proof.checks.append(_skip_check(name, failed_check) if failed_check else _run_check(name, check))
    return proof


def _run_check(name: str, check: Callable[[], str]) -> ProofCheck:
    started = time.perf_counter()
    try:
        passed, detail = True, check()
    except (PatchRefused, PatchDoesNotApply) as error:
        passed, detail = False, str(error)
    # Odd input, such as a number of 5,000 digits, makes a checker raise one of these. It is refused, never passed.
    except (ValueError, ArithmeticError, RecursionError, MemoryError, AttributeError, TypeError) as error:
        passed, detail = False, f"the check cannot read it ({type(error).__name__}: {error}): write it more simply"
    return ProofCheck(name, passed, detail[:MAX_CHECK_CHARACTERS], round(time.perf_counter() - started, 3))


def _skip_check(name: str, failed_check: str) -> ProofCheck:
    return ProofCheck(name, False, f"not run, since {failed_check} failed", 0.0)


def _size(diff: str, rules: KernelSettings) -> str:
    lines = sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in diff.splitlines() if line)
    if len(diff) > rules.max_characters or lines > rules.max_lines:
        raise PatchRefused(
            f"{lines} changed lines in {len(diff)} characters, at most {rules.max_lines} in {rules.max_characters}"
        )
    return f"{lines} changed lines"


def _paths(diff: str) -> str:
    if unsupported := re.search(
        r"^(new file mode|deleted file mode|old mode|rename |copy |GIT binary|Binary files)", diff, re.M
    ):
        raise PatchRefused(f"'{unsupported[1].strip()}': a patch changes lines of files that are there")
    names = list_touched_files(diff)
    if not names or set(names) - set(PATCHABLE_FILES):
        raise PatchRefused(
            f"it touches {', '.join(map(repr, names)) or 'nothing'}; allowed are {', '.join(PATCHABLE_FILES)}"
        )
    return ", ".join(names)


def _compiles(files: dict[str, str]) -> str:
    for name, text in files.items():
        try:
            compile(text, name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise PatchRefused(f"{name}: {error}") from error
    return ""


def _static(files: dict[str, str]) -> str:
    problems = [f"{name}:{problem}" for name, text in files.items() for problem in find_problems(text)]
    if problems:
        raise PatchRefused("; ".join(problems))
    return ""


def _ruff(files: dict[str, str]) -> str:
    options = ["check", "--isolated", "--no-cache", "--ignore-noqa", "--line-length=120", "--output-format=concise"]
    options += [f"--select={','.join(RUFF_RULES)}", f"--ignore={','.join(IGNORED_RUFF_RULES)}"]
    return run_checker("ruff", options, files)


def _types(files: dict[str, str]) -> str:
    return run_checker("mypy", [*MYPY_OPTIONS, "--python-version=3.11"], files)


def _tests(files: dict[str, str]) -> str:
    with temporary_files(files) as folder:
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "osiris.kernel.candidate", "-c", "/dev/null"]
        command = ["-m", "pytest", *options, "--rootdir", str(folder), "--candidate", str(folder), str(POLICY_TESTS)]
        result = run_python(command, MAX_TEST_SECONDS, folder)
        if result.returncode:
            failed = re.findall(r"^(?:FAILED|ERROR) \S*?(test_\w+\.py::\w+)(?: - (.*))?$", result.stdout, re.M)
            raise PatchRefused(
                "; ".join(f"{name} {why}" for name, why in failed)
                or (result.stdout + result.stderr)[-MAX_CHECK_CHARACTERS:]
            )
        return result.stdout.strip().splitlines()[-1]


def _ask_judge(diff: str, judge: AnyJudge, rules: KernelSettings) -> tuple[int | None, str]:
    lines = [line for line in diff.splitlines() if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")]
    proposal = json.dumps({"target": ", ".join(list_touched_files(diff)), "diff": "\n".join(lines) + "\n"})
    (score,) = hermes.score_ideas(judge, [hermes.JudgedIdea(proposal, PATCH_CONTEXT)], 1)
    detail = score.note or f"{score.raw} of 10"
    if rules.min_hermes and (score.raw is None or score.raw < rules.min_hermes):
        hint = "kernel.min_hermes = 0 takes whatever the judge says"
        raise PatchRefused(f"{detail}, at least {rules.min_hermes} asked for ({hint})")
    return score.raw, detail

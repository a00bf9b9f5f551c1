"""Proving: may this patch be run for real? Every check is named and timed, and every one has to pass; none is weighed.

The first checks read the patch and run nothing. Only what passes all of them is run, in the sandbox: the policy's own
tests ask it from here, and CrossHair looks inside the box for numbers with which it breaks a law. Hermes is asked last.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from osiris.config.sections import Kernel
from osiris.kernel.patch import touched
from osiris.kernel.repo import DoesNotApply, PolicyRepo, Version
from osiris.llm import hermes
from osiris.llm.models import AnyJudge
from osiris.policy import PATCHABLE
from osiris.sandbox.checkers import TESTS, Refused, laid_out, on_files, run_program
from osiris.sandbox.laws import contracts
from osiris.sandbox.session import try_sandbox
from osiris.sandbox.static import problems

PROVED, REFUSED = "proved", "refused"
RUFF = ["E", "F", "W", "I", "B", "UP", "SIM", "RUF", "D1", "C4"]
LEFT_OUT = ["RUF001", "RUF002", "RUF003", "RUF005", "RUF007", "RUF015", "UP031"]
"""Rules on spelling alone, which ask for what the static check refuses, or for another way to say the same."""
MYPY = [
    "--strict",
    "--config-file=",
    "--no-incremental",
    "--no-error-summary",
    "--hide-error-context",
    "--no-site-packages",
    "--no-warn-return-any",  # a float to the power of a float is Any to mypy
]
TEST_SECONDS = 180
SHOWN = 400
ASKED = "A patch of the trading policy"


@dataclass(frozen=True)
class Check:
    """One check: what it found, and how long it took."""

    name: str
    passed: bool
    detail: str
    seconds: float


@dataclass
class Proof:
    """What proving came to; `files` are the policy's as the patch leaves them, `hermes` is the judge's number 0-10."""

    checks: list[Check] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    hermes: int | None = None

    @property
    def verdict(self) -> str:
        """`proved`, or `refused` when a check failed."""
        return PROVED if self.checks and all(check.passed for check in self.checks) else REFUSED

    @property
    def reason(self) -> str:
        """The first check that failed, with what it found; empty for a proved patch."""
        return next((f"{check.name}: {check.detail}" for check in self.checks if not check.passed), "")

    def as_dict(self) -> dict[str, Any]:
        """The proof as JSON takes it."""
        return {"verdict": self.verdict, "checks": [asdict(check) for check in self.checks]}


def prove(
    diff: str,
    live: Version,
    repo: PolicyRepo,
    judge: AnyJudge,
    rules: Kernel,
    progress: Callable[[str], None] = lambda _: None,
) -> Proof:
    """Prove a diff of the live policy. Raises `NoSandbox` on a machine without bubblewrap: nothing is proved there.

    `progress` is told each check's name as it begins.
    """
    try_sandbox()
    proof = Proof()

    def applied() -> str:
        proof.files = repo.patched(live.commit, diff)
        return ""

    def changed() -> str:
        names = live.changed(proof.files)
        if len(names) != 1:
            raise Refused(f"it changes {', '.join(names) or 'nothing'}; a patch changes one file")
        return names[0]

    def judged() -> str:
        proof.hermes, told = _hermes(diff, judge, rules)
        return told

    stages: list[list[tuple[str, Callable[[], str]]]] = [
        [("size", lambda: _size(diff, rules)), ("paths", lambda: _paths(diff))],
        [("applies", applied)],
        [
            ("changes", changed),
            ("compiles", lambda: _compiles(proof.files)),
            ("static", lambda: _static(proof.files)),
            ("ruff", lambda: _ruff(proof.files)),
            ("types", lambda: _types(proof.files)),
        ],
        [("tests", lambda: _tests(proof.files))],
        [("contracts", lambda: contracts(proof.files, rules.symbolic_seconds))],
        [("hermes", judged)],
    ]
    for stage in stages:
        stopped = proof.reason.partition(":")[0]
        for name, check in stage:
            progress(name)
            proof.checks.append(_not_run(name, stopped) if stopped else _run(name, check))
    return proof


def _run(name: str, check: Callable[[], str]) -> Check:
    started = time.perf_counter()
    try:
        passed, detail = True, check()
    except (Refused, DoesNotApply) as error:
        passed, detail = False, str(error)
    except (ValueError, ArithmeticError, RecursionError, MemoryError, AttributeError, TypeError) as error:
        passed, detail = False, f"the check cannot read it ({type(error).__name__}: {error}): write it more simply"
    return Check(name, passed, detail[:SHOWN], round(time.perf_counter() - started, 3))


def _not_run(name: str, stopped: str) -> Check:
    return Check(name, False, f"not run, since {stopped} failed", 0.0)


def _size(diff: str, rules: Kernel) -> str:
    lines = sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in diff.splitlines() if line)
    if len(diff) > rules.max_characters or lines > rules.max_lines:
        raise Refused(
            f"{lines} changed lines in {len(diff)} characters, at most {rules.max_lines} in {rules.max_characters}"
        )
    return f"{lines} changed lines"


def _paths(diff: str) -> str:
    if odd := re.search(
        r"^(new file mode|deleted file mode|old mode|rename |copy |GIT binary|Binary files)", diff, re.M
    ):
        raise Refused(f"'{odd[1].strip()}': a patch changes lines of files that are there")
    names = touched(diff)
    if not names or set(names) - set(PATCHABLE):
        raise Refused(f"it touches {', '.join(map(repr, names)) or 'nothing'}; allowed are {', '.join(PATCHABLE)}")
    return ", ".join(names)


def _compiles(files: dict[str, str]) -> str:
    for name, text in files.items():
        try:
            compile(text, name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise Refused(f"{name}: {error}") from error
    return ""


def _static(files: dict[str, str]) -> str:
    found = [f"{name}:{problem}" for name, text in files.items() for problem in problems(text)]
    if found:
        raise Refused("; ".join(found))
    return ""


def _ruff(files: dict[str, str]) -> str:
    options = ["check", "--isolated", "--no-cache", "--ignore-noqa", "--line-length=120", "--output-format=concise"]
    return on_files("ruff", [*options, f"--select={','.join(RUFF)}", f"--ignore={','.join(LEFT_OUT)}"], files)


def _types(files: dict[str, str]) -> str:
    return on_files("mypy", [*MYPY, "--python-version=3.11"], files)


def _tests(files: dict[str, str]) -> str:
    with laid_out(files) as here:
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "osiris.kernel.candidate", "-c", "/dev/null"]
        asked = ["-m", "pytest", *options, "--rootdir", str(here), "--candidate", str(here), str(TESTS)]
        ran = run_program(asked, TEST_SECONDS, here)
        if ran.returncode:
            failed = re.findall(r"^(?:FAILED|ERROR) \S*?(test_\w+\.py::\w+)(?: - (.*))?$", ran.stdout, re.M)
            raise Refused("; ".join(f"{name} {why}" for name, why in failed) or (ran.stdout + ran.stderr)[-SHOWN:])
        return ran.stdout.strip().splitlines()[-1]


def _hermes(diff: str, judge: AnyJudge, rules: Kernel) -> tuple[int | None, str]:
    lines = [line for line in diff.splitlines() if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")]
    proposal = json.dumps({"target": ", ".join(touched(diff)), "diff": "\n".join(lines) + "\n"})
    (score,) = hermes.score(judge, [hermes.Idea(proposal, ASKED)], 1)
    told = score.note or f"{score.raw} of 10"
    if rules.min_hermes and (score.raw is None or score.raw < rules.min_hermes):
        hint = "kernel.min_hermes = 0 takes whatever the judge says"
        raise Refused(f"{told}, at least {rules.min_hermes} asked for ({hint})")
    return score.raw, told

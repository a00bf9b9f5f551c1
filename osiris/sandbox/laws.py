"""The laws of the risk filter and of sizing, checked twice: by CrossHair in the sandbox, and by trials from outside.

A law is a limit that must hold for all numbers, such as "the size lies between 0 and `MAX_RISK`".

CrossHair considers all numbers, but in the same process as the policy, which could forge its result. The trials use few
numbers, but the policy cannot change their result: it only answers, and its answers are checked out here. They use the
numbers that the policy's files contain, because a limit that breaks at one exact number mostly breaks at such a one.

What this does not keep out: a broken law that CrossHair does not find in its time, at numbers that no file contains.
The contracts in `osiris.policy` still refuse such an answer when it is given.
"""

import ast
import json
import math
import secrets
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from osiris.policy.contracts import PolicyInput
from osiris.sandbox import runner, symbolic
from osiris.sandbox.bubblewrap import MIB, kill_sandboxed, start_sandboxed
from osiris.sandbox.checkers import POLICY_TESTS, PatchRefused, temporary_files
from osiris.sandbox.policies import CandidatePolicy
from osiris.sandbox.session import CandidateFailed, read_line, send_line

SYMBOLIC_MEMORY_BYTES = 3072 * MIB
MAX_TRIED_NUMBERS = 40
"""How many numbers of a policy are tried, each in up to seven ideas."""
BASE_INPUT = PolicyInput(1, 3.0, 1.5, 0.6, 0.7, {"momentum": 1.0, "rsi": 10.0, "last": 0.5})
"""An ordinary idea, whose fields are replaced one by one."""


def check_laws(files: dict[str, str], law_seconds: float) -> str:
    """Check the laws, with `law_seconds` of CrossHair for each; returns a summary, raises `PatchRefused`."""
    confirmed = _check_with_crosshair(files, law_seconds)
    count = _check_literals(files)
    return f"{confirmed}; {count} ideas made of the policy's own numbers keep to the limits"


def law_names() -> set[str]:
    """The names of the laws."""
    tree = ast.parse((POLICY_TESTS / "laws.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def parse_law_results(line: bytes, tag: str) -> dict[str, list[dict[str, str]]]:
    """Read a line of the symbolic check: CrossHair's messages by the law's name.

    Raises `ValueError` for a line without the tag, or without a message on every law.
    """
    answer = json.loads(line)
    if not isinstance(answer, dict) or answer.keys() != {"tag", "laws"} or answer["tag"] != tag:
        raise ValueError("an answer to another question")
    found = answer["laws"]
    if not isinstance(found, dict) or found.keys() != law_names() or not all(found.values()):
        raise ValueError(f"expected an answer on each of {', '.join(sorted(law_names()))}")
    return found


def _check_with_crosshair(files: dict[str, str], law_seconds: float) -> str:
    with temporary_files(files) as folder:
        mounts = {folder: "/cand", POLICY_TESTS: "/laws", Path(sysconfig.get_path("purelib")): "/site"}
        mounts[Path(str(runner.__file__))] = "/osiris/runner.py"
        # A minute to start CrossHair, and ten times what each law may take for all of them together.
        seconds = 60 + 10 * round(law_seconds)
        tag = secrets.token_hex(8)
        program = [str(symbolic.__file__), str(SYMBOLIC_MEMORY_BYTES), str(seconds), str(law_seconds)]
        process = start_sandboxed(program, mounts, stdin=subprocess.PIPE, allow_threads=True)
        try:
            send_line(process, f"{tag}\n".encode())
            found = parse_law_results(read_line(process, seconds, SYMBOLIC_MEMORY_BYTES), tag)
            states = [str(one["state"]) for law in found.values() for one in law]
            broken = [
                str(one["message"])
                for law in found.values()
                for one in law
                if one["state"] not in ("CONFIRMED", "CANNOT_CONFIRM")
            ]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise PatchRefused(f"no answer from the symbolic check: {error}") from error
        finally:
            kill_sandboxed(process)
    if broken:
        raise PatchRefused("; ".join(broken))
    return f"{states.count('CONFIRMED')} of {len(found)} laws confirmed, no counterexample to the others"


def _check_literals(files: dict[str, str]) -> int:
    count = 0
    with CandidatePolicy(files) as candidate:
        for number in literal_numbers(files):
            for idea in _inputs_with(number):
                try:
                    candidate.passes(idea)
                    candidate.size(idea)
                except CandidateFailed as error:
                    raise PatchRefused(f"{error.actual} for {idea}") from error
                count += 1
    return count


def literal_numbers(files: dict[str, str]) -> list[float]:
    """The finite numbers that `gate.py` and `sizing.py` contain, as numbers or as texts, each once, in order.

    Of more than `MAX_TRIED_NUMBERS` the last ones are kept.
    """
    found: dict[float, None] = {}
    for name in ("gate.py", "sizing.py"):
        for node in ast.walk(ast.parse(files[name])):
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
                try:
                    number = float(node.value)
                except (ValueError, OverflowError):
                    continue
                if math.isfinite(number):
                    found[number] = None
    return list(found)[-MAX_TRIED_NUMBERS:]


def _inputs_with(number: float) -> Iterator[PolicyInput]:
    """Ideas with `number` in each field whose range contains it."""
    if 0 <= number <= 1:
        yield BASE_INPUT._replace(confidence=number)
        yield BASE_INPUT._replace(hermes=number)
        yield BASE_INPUT._replace(confidence=number, hermes=None, features={})
    if 0 < number <= 20:
        yield BASE_INPUT._replace(target_atr=number)
        yield BASE_INPUT._replace(stop_atr=number)
    for side in (1, -1):
        yield BASE_INPUT._replace(side=side, features=dict.fromkeys(BASE_INPUT.features, number))

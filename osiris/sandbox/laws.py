"""The laws of gate and sizing: looked at by CrossHair in the box, and tried from here on numbers that the policy names.

CrossHair sees all numbers there are, in the same process as the policy. The trial from outside sees few, and nothing
that the policy does can change what is found: it only answers. A limit that is broken at one exact number is broken
at one that stands in the file, mostly, as a number or as a text.
"""

import ast
import json
import math
import secrets
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from osiris.policy.contracts import Sketch
from osiris.sandbox import runner, symbolic
from osiris.sandbox.bubblewrap import MIB, end, start
from osiris.sandbox.checkers import TESTS, Refused, laid_out
from osiris.sandbox.policies import Candidate
from osiris.sandbox.session import CandidateFailed, read_line

MEMORY = 3072 * MIB
MOST_TRIED = 40
"""Numbers of a policy that are tried, each in seven places."""
STANDS = Sketch(1, 3.0, 1.5, 0.6, 0.7, {"momentum": 1.0, "rsi": 10.0, "last": 0.5})


def contracts(files: dict[str, str], seconds: float) -> str:
    """What came of the laws, `seconds` of CrossHair for each; raises `Refused`."""
    told = _by_crosshair(files, seconds)
    tried = _from_outside(files)
    return f"{told}; {tried} ideas made of the policy's own numbers keep to the limits"


def law_names() -> set[str]:
    """The laws, by their names."""
    tree = ast.parse((TESTS / "laws.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def read_found(line: bytes, tag: str) -> dict[str, list[dict[str, str]]]:
    """What a line of the symbolic check tells of every law; raises `ValueError` for one that does not."""
    answer = json.loads(line)
    if not isinstance(answer, dict) or answer.keys() != {"tag", "laws"} or answer["tag"] != tag:
        raise ValueError("an answer to another question")
    found = answer["laws"]
    if not isinstance(found, dict) or found.keys() != law_names() or not all(found.values()):
        raise ValueError(f"expected an answer on each of {', '.join(sorted(law_names()))}")
    return found


def _by_crosshair(files: dict[str, str], law_seconds: float) -> str:
    with laid_out(files) as here:
        shown = {here: "/cand", TESTS: "/laws", Path(sysconfig.get_path("purelib")): "/site"}
        shown[Path(str(runner.__file__))] = "/osiris/runner.py"
        seconds, tag = 60 + 10 * round(law_seconds), secrets.token_hex(8)
        program = [str(symbolic.__file__), str(MEMORY), str(seconds), str(law_seconds)]
        process = start(program, shown, stdin=subprocess.PIPE, threads=True)
        try:
            process.stdin.write(f"{tag}\n".encode())
            process.stdin.flush()
            found = read_found(read_line(process, seconds, MEMORY), tag)
            states = [str(one["state"]) for law in found.values() for one in law]
            broken = [
                str(one["message"])
                for law in found.values()
                for one in law
                if one["state"] not in ("CONFIRMED", "CANNOT_CONFIRM")
            ]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Refused(f"no answer from the symbolic check: {error}") from error
        finally:
            end(process)
    if broken:
        raise Refused("; ".join(broken))
    return f"{states.count('CONFIRMED')} of {len(found)} laws confirmed, no counterexample to the others"


def _from_outside(files: dict[str, str]) -> int:
    tried = 0
    with Candidate(files) as candidate:
        for number in named_numbers(files):
            for idea in _ideas(number):
                try:
                    candidate.passes(idea)
                    candidate.size(idea)
                except CandidateFailed as error:
                    raise Refused(f"{error.came} for {idea}") from error
                tried += 1
    return tried


def named_numbers(files: dict[str, str]) -> list[float]:
    """The finite numbers that stand in gate and sizing, as numbers or as texts, and those beside them, in order."""
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
    return list(found)[-MOST_TRIED:]


def _ideas(number: float) -> Iterator[Sketch]:
    """Ideas with a number in each place where it may stand."""
    if 0 <= number <= 1:
        yield STANDS._replace(confidence=number)
        yield STANDS._replace(hermes=number)
        yield STANDS._replace(confidence=number, hermes=None, features={})
    if 0 < number <= 20:
        yield STANDS._replace(target_atr=number)
        yield STANDS._replace(stop_atr=number)
    for side in (1, -1):
        yield STANDS._replace(side=side, features=dict.fromkeys(STANDS.features, number))

"""The program inside the sandbox that looks for numbers with which a policy breaks a law, by symbolic execution.

It is given a random tag on its standard input and prints one JSON line, `{tag, laws}`: CrossHair's `{state, message}`
of every law, by the law's name. The policy runs in the same process; code that gets past the static check could forge a
line, which is why the laws are also tried from outside (`probe`), on the numbers that stand in the policy.
"""

import importlib
import inspect
import json
import os
import sys

IMPORT_PATHS = ["/site", "/cand", "/laws"]


def analyze_laws(seconds: float) -> dict[str, list[dict[str, str]]]:
    """What CrossHair finds of each law, giving each `seconds`."""
    from crosshair.core_and_libs import analyze_function, run_checkables
    from crosshair.options import AnalysisKind, AnalysisOptionSet

    options = AnalysisOptionSet(analysis_kind=[AnalysisKind.asserts], per_condition_timeout=seconds)
    laws = importlib.import_module("laws")
    found = {}
    for name, law in inspect.getmembers(laws, inspect.isfunction):
        if law.__module__ != laws.__name__:
            continue
        messages = run_checkables(analyze_function(law, options))
        found[name] = [{"state": one.state.name, "message": one.message} for one in messages]
    return found


def run_analysis() -> None:
    """Set the limits, look, and print."""
    sys.path.insert(0, "/osiris")
    importlib.import_module("runner").limit(int(sys.argv[1]), int(sys.argv[2]))
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.path += IMPORT_PATHS
    tag = sys.stdin.readline().strip()
    os.write(out, json.dumps({"tag": tag, "laws": analyze_laws(float(sys.argv[3]))}).encode() + b"\n")


if __name__ == "__main__":
    run_analysis()

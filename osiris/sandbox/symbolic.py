"""The program inside the sandbox that searches, by symbolic execution, for numbers with which a policy breaks a law.

It reads a random tag from its standard input and prints one line of JSON, `{tag, laws}`: a list of CrossHair's
`{state, message}` for every law, by the law's name.

What it keeps out: a policy that breaks a limit at a number which CrossHair finds. What it does not: the policy runs in
the same process, so code that passed the static check could forge the line. Therefore `laws` also tries the limits from
outside the sandbox, on the numbers that the policy's files contain.
"""

import importlib
import inspect
import json
import os
import sys

IMPORT_PATHS = ["/site", "/cand", "/laws"]


def analyze_laws(seconds: float) -> dict[str, list[dict[str, str]]]:
    """CrossHair's messages on each law by its name, after at most `seconds` for each condition."""
    from crosshair.core_and_libs import analyze_function, run_checkables
    from crosshair.options import AnalysisKind, AnalysisOptionSet

    options = AnalysisOptionSet(analysis_kind=[AnalysisKind.asserts], per_condition_timeout=seconds)
    laws = importlib.import_module("laws")
    messages_by_law = {}
    for name, law in inspect.getmembers(laws, inspect.isfunction):
        if law.__module__ != laws.__name__:  # imported there, and no law
            continue
        messages = run_checkables(analyze_function(law, options))
        messages_by_law[name] = [{"state": one.state.name, "message": one.message} for one in messages]
    return messages_by_law


def run_analysis() -> None:
    """Set the limits, analyze the laws, and print the answer."""
    sys.path.insert(0, "/osiris")
    importlib.import_module("runner").set_limits(int(sys.argv[1]), int(sys.argv[2]))
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.path += IMPORT_PATHS
    tag = sys.stdin.readline().strip()
    os.write(out, json.dumps({"tag": tag, "laws": analyze_laws(float(sys.argv[3]))}).encode() + b"\n")


if __name__ == "__main__":
    run_analysis()

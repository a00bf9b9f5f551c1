"""The program inside the sandbox that looks for numbers with which a policy breaks a law, by symbolic execution.

It prints one JSON line: a list of `{state, message}`, CrossHair's own. The policy runs in the same process and could
forge it; it would gain one check of eleven, by means that the checks before refuse.
"""

import importlib
import json
import os
import sys

WHERE = ["/site", "/cand", "/laws"]


def check(seconds: float) -> list[dict[str, str]]:
    """What CrossHair finds, giving each law `seconds`."""
    from crosshair.core_and_libs import analyze_module, run_checkables
    from crosshair.options import AnalysisKind, AnalysisOptionSet

    options = AnalysisOptionSet(analysis_kind=[AnalysisKind.asserts], per_condition_timeout=seconds)
    found = run_checkables(analyze_module(importlib.import_module("laws"), options))
    return [{"state": one.state.name, "message": one.message} for one in found]


def main() -> None:
    """Set the limits, look, and print."""
    sys.path.insert(0, "/osiris")
    importlib.import_module("runner").limit(int(sys.argv[1]), int(sys.argv[2]))
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.path += WHERE
    os.write(out, json.dumps(check(float(sys.argv[3]))).encode() + b"\n")


if __name__ == "__main__":
    main()

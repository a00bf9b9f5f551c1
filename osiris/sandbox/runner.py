"""The program inside the sandbox. It imports nothing of Osiris, which cannot be seen from there.

It first limits its own memory, processor time and files. Then it loads a policy from `/cand` and answers questions,
each a line of JSON, on a copy of its standard output. Whatever the policy itself prints is discarded.

What it keeps out: more memory, processor time or open files than one session may have. What it does not: the policy
runs in this very process and could replace any function here, so nothing that this program says is trusted. Its reader
is `session`, outside, which checks each line.
"""

import importlib.util
import json
import os
import resource
import sys
from typing import Any

MODULE_BY_CALL = {"features": "context", "passes": "gate", "size": "sizing"}


def set_limits(memory_bytes: int, seconds: int) -> None:
    """Limit memory, processor time (in seconds) and files, in a way that this process cannot undo."""
    # Each limit is set as the hard one too: a process without rights can lower a hard limit and never raise it.
    for limit, maximum in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(limit, (maximum, maximum))


def load_candidate(name: str) -> object:
    """Load a file of the policy as a module."""
    spec = importlib.util.spec_from_file_location(f"candidate_{name}", f"/cand/{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"no module can be loaded from /cand/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def answer_call(question: dict[str, Any]) -> dict[str, Any]:
    """The answer to `{tag, call, args}`: `{tag, value}`."""
    name = MODULE_BY_CALL[question["call"]]
    module = sys.modules.get(f"candidate_{name}") or load_candidate(name)
    return {"tag": question["tag"], "value": getattr(module, question["call"])(*question["args"])}


def serve_calls() -> None:
    """Answer questions until there are no more.

    An exception ends the program; its last answer is then `{tag, error}`.
    """
    out = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    question: dict[str, Any] = {}

    def report_error(kind: type, error: object, _: object) -> None:
        report = {"tag": question.get("tag"), "error": f"{kind.__name__}: {error}"[:500]}
        os.write(out, json.dumps(report).encode() + b"\n")

    sys.excepthook = report_error
    for line in sys.stdin:
        question = json.loads(line)
        os.write(out, json.dumps(answer_call(question)).encode() + b"\n")


if __name__ == "__main__":
    set_limits(int(sys.argv[1]), int(sys.argv[2]))
    serve_calls()

"""The program inside the sandbox; it imports nothing of Osiris.

It sets its own limits first, then loads a policy from `/cand` and answers questions, a JSON line each, on the
descriptor that was its standard output. What the policy prints goes nowhere.
"""

import importlib.util
import json
import os
import resource
import sys

MODULE_BY_CALL = {"features": "context", "passes": "gate", "size": "sizing"}


def set_limits(memory_bytes: int, seconds: int) -> None:
    """Take away what cannot be taken back: `memory` in bytes, `seconds` of processor time, files and processes."""
    for what, maximum in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(what, (maximum, maximum))


def load_candidate(name: str) -> object:
    """Load a file of the policy as a module."""
    spec = importlib.util.spec_from_file_location(f"candidate_{name}", f"/cand/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def answer_call(question: dict) -> dict:
    """The answer to `{tag, call, args}`: `{tag, value}`."""
    home = MODULE_BY_CALL[question["call"]]
    module = sys.modules.get(f"candidate_{home}") or load_candidate(home)
    return {"tag": question["tag"], "value": getattr(module, question["call"])(*question["args"])}


def serve_calls() -> None:
    """Answer questions until there are no more, or until one raises: `{tag, error}` is then the last answer."""
    out = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    question = {}

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

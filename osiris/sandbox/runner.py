"""The program inside the sandbox; it imports nothing of Osiris.

It sets its own limits first, then loads a policy from `/cand` and answers questions, a JSON line each, on the
descriptor that was its standard output. What the policy prints goes nowhere.
"""

import importlib.util
import json
import os
import resource
import sys

HOMES = {"features": "context", "passes": "gate", "size": "sizing"}


def limit(memory: int, seconds: int) -> None:
    """Take away what cannot be taken back: `memory` in bytes, `seconds` of processor time, files and processes."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(what, (most, most))


def load(name: str) -> object:
    """Load a file of the policy as a module."""
    spec = importlib.util.spec_from_file_location(f"candidate_{name}", f"/cand/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def answer(question: dict) -> dict:
    """The answer to `{tag, call, args}`: `{tag, value}`."""
    home = HOMES[question["call"]]
    module = sys.modules.get(f"candidate_{home}") or load(home)
    return {"tag": question["tag"], "value": getattr(module, question["call"])(*question["args"])}


def serve() -> None:
    """Answer questions until there are no more, or until one raises: `{tag, error}` is then the last answer."""
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    question = {}

    def last_words(kind: type, error: object, _: object) -> None:
        said = {"tag": question.get("tag"), "error": f"{kind.__name__}: {error}"[:500]}
        os.write(out, json.dumps(said).encode() + b"\n")

    sys.excepthook = last_words
    for line in sys.stdin:
        question = json.loads(line)
        os.write(out, json.dumps(answer(question)).encode() + b"\n")


if __name__ == "__main__":
    limit(int(sys.argv[1]), int(sys.argv[2]))
    serve()

"""A night killed again and again: `python -m tests.journeys.nightly_worker FOLDER AS_OF SEED`, a JSON line an attempt.

Each attempt is a fork that kills itself at a random one of the moments at which something becomes visible: just before
a file is put in its place, just after, or just before MLflow's database is written. The last one is left alive.
"""

import json
import os
import random
import signal
import sys
from datetime import datetime
from pathlib import Path

import bitsandbytes  # noqa: F401 - an attempt should not have to import what a night needs
import lancedb  # noqa: F401
import mlflow  # noqa: F401
import torch
from sqlalchemy import event
from sqlalchemy.engine import Engine
from transformers import Phi3ForCausalLM  # noqa: F401
from trl import DPOTrainer, SFTTrainer  # noqa: F401

from osiris.training.nightly import collect_pairs, learn_from_feedback, learn_from_outcomes, parse_since
from osiris.training.promotion import HeldoutSource, evaluate_adapters
from osiris.workspace import open_workspace

ATTEMPTS = 40


def run_nightly_steps(folder: Path, as_of: datetime) -> None:
    """What pages 04 to 07 do."""
    workspace = open_workspace(folder, as_of)
    shelf, tracking, settings = workspace.registry, workspace.tracking, workspace.settings
    since = parse_since("2000-01-01T00:00:00Z")
    learn_from_feedback(workspace.advice, shelf, tracking, settings, since, as_of)
    collect_pairs(workspace.advice, shelf, settings, as_of)
    learn_from_outcomes(shelf, tracking, settings, as_of)
    evaluate_adapters(shelf, tracking, workspace.models, HeldoutSource(workspace.snapshots, workspace.policy), as_of)
    workspace.close()


def kill_at(point: int) -> None:
    """Let this process kill itself at the `point`-th moment at which something becomes visible."""
    passed = 0

    def maybe_die(*_: object) -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def between(original):
        def moved(*given, **named):
            maybe_die()
            done = original(*given, **named)
            maybe_die()
            return done

        return moved

    os.rename, os.replace = between(os.rename), between(os.replace)
    event.listen(Engine, "commit", maybe_die)


def run_attempt(folder: Path, as_of: datetime, point: int) -> bool:
    """Whether a night that is to die at `point` was over before."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(folder / "night.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        os.dup2(1, 2)
        torch.set_num_threads(1)
        if point:
            kill_at(point)
        run_nightly_steps(folder, as_of)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.waitstatus_to_exitcode(status):
        raise SystemExit((folder / "night.log").read_text()[-3000:])
    return True


def main(folder: Path, as_of: datetime, seed: int) -> None:
    """Attempts until one is over; the first without a kill when `seed` is 0."""
    chance = random.Random(seed)
    for number in range(1, ATTEMPTS + 1):
        point = chance.randint(1, 6 * number) if seed and number < ATTEMPTS else 0
        over = run_attempt(folder, as_of, point)
        visible = sorted(path.name for path in (folder / "adapters").glob("[0-9]*"))
        print(json.dumps({"point": point, "over": over, "adapters": visible}), flush=True)
        if over:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), int(sys.argv[3]))

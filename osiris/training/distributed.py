"""Training on several devices: `accelerate` starts a process for each, and they share the rows of a step.

An example: a recipe's steps have 32 pairs, and a configuration of `accelerate config` names two devices. Each process
reads 16 pairs of a step, and their gradients are averaged. So steps, rates and epochs are those of one device. The
first process saves the adapter and the result.
"""

import logging
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from osiris.config.sections import LlmSettings
from osiris.config.settings import Settings, environment_with, find_rank
from osiris.core.errors import BadInput, NotFound, OsirisError
from osiris.training.batches import DEFAULT_BATCH
from osiris.training.recipe import Recipe

if TYPE_CHECKING:
    from osiris.training.run import TrainingOptions, TrainResult

log = logging.getLogger(__name__)

JOB_FILE, RESULT_FILE = "job", "result"
CPU_TYPES = ("MULTI_CPU", "NO")
"""Kinds of accelerate's configurations for which its launcher would need MPI, or start one process alone."""
LOG_TAIL = 500


class DistributedFailed(OsirisError):
    """A process of a distributed training ended without a result; no adapter was kept."""


def train_distributed(
    settings: Settings, lines: Sequence[Mapping[str, Any]], options: "TrainingOptions", config: Path
) -> "TrainResult":
    """Train as `train_adapter` does, by the processes that accelerate's file `config` asks for.

    Raises `NotFound` and `BadInput` for the file, the errors of `train_adapter`, and `DistributedFailed` if a process
    ended without a result.
    """
    count, on_cpu = read_processes(config)
    recipe = share_steps(options.recipe, count)
    # The processes train and ask no server, so the key of one stays here.
    alone = settings.model_copy(
        update={"llm": LlmSettings(), "training": settings.training.model_copy(update={"accelerate": ""})}
    )
    with tempfile.TemporaryDirectory(prefix="osiris-devices-") as name:
        folder = Path(name)
        job = (alone, list(lines), replace(options, recipe=recipe))
        (folder / JOB_FILE).write_bytes(pickle.dumps(job))
        log.info("training in %s processes, as %s asks", count, config)
        ran = subprocess.run(
            [*_launcher(config, count, on_cpu), "-m", __name__, str(folder)],
            env=environment_with(**({"ACCELERATE_USE_CPU": "true"} if on_cpu else {})),
            stdout=subprocess.DEVNULL, stderr=None if options.progress else subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if not (folder / RESULT_FILE).is_file():
            raise DistributedFailed(
                f"{count} processes that train", f"exit status {ran.returncode}: {(ran.stderr or '')[-LOG_TAIL:]!r}",
                f"correct {config}, or train without it",
            )  # fmt: skip
        result = pickle.loads((folder / RESULT_FILE).read_bytes())
    if isinstance(result, tuple):
        kind, *parts = result
        raise kind(*parts)
    return replace(result, folder=options.out)


def read_processes(config: Path) -> tuple[int, bool]:
    """The number of processes in a configuration of accelerate, and whether they run on the CPU."""
    if not config.is_file():
        raise NotFound(f"accelerate's configuration {config}", "no such file", "make it with: accelerate config")
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
        count = int(content["num_processes"])
        if count < 1 or int(content.get("num_machines", 1)) != 1:
            raise ValueError("processes of one machine")
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            "num_processes of one machine in accelerate's configuration", str(error), f"correct {config}"
        ) from error
    return count, bool(content.get("use_cpu")) or content.get("distributed_type") in CPU_TYPES


def share_steps(recipe: Recipe, processes: int) -> Recipe:
    """The recipe for each of the processes, so that all together read the rows of a step.

    The reference is read at each step: TRL keeps what it read once in a file that only the first process finds.
    """
    rows = int(recipe.args.get("per_device_train_batch_size", DEFAULT_BATCH))
    if rows % processes:
        raise BadInput(
            f"a batch that {processes} processes share evenly",
            f"{rows} rows",
            f"correct per_device_train_batch_size in recipe {recipe.name}",
        )
    changes: dict[str, Any] = {"per_device_train_batch_size": rows // processes}
    if "precompute_ref_log_probs" in recipe.args:
        changes["precompute_ref_log_probs"] = processes == 1 and recipe.args["precompute_ref_log_probs"]
    return replace(recipe, args=recipe.args | changes)


def _launcher(config: Path, count: int, on_cpu: bool) -> list[str]:
    if on_cpu:
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--config_file", str(config)]


def main(folder: Path) -> None:
    """What each of the processes does. Only the first one keeps what it trained."""
    from osiris.training.methods import train_adapter

    settings, lines, options = pickle.loads((folder / JOB_FILE).read_bytes())
    rank = find_rank("RANK")
    if rank:
        options = replace(options, out=folder / f"process-{rank}", progress=False)
    try:
        result: Any = train_adapter(settings, lines, options)
    except OsirisError as error:
        result = (type(error), error.expected, error.actual, error.remedy)
    if not rank:
        unfinished = folder / f"{RESULT_FILE}.part"
        unfinished.write_bytes(pickle.dumps(result))
        unfinished.rename(folder / RESULT_FILE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

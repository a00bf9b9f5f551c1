"""`osiris learn-check`: does the loop learn an edge where there is one, and nothing where there is none?

Synthetic markets with a known edge are made from a seed. The loop runs on them for several nightly runs, and every step
is the real one. Then each run's adapter, and the one served in the end, is measured on prompts that come after all
runs. Two more checks use markets without an edge: the gate compares a model with itself, and it compares biased coins
with even ones on correlated tickers. Trials run in parallel, one on each core.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osiris.config.settings import load_settings, set_environment
from osiris.core.files import create_folder
from osiris.learn_check.no_edge import CANDIDATES_PER_SIDE, run_aa_comparisons
from osiris.learn_check.no_skill import RandomWalks, compare_coins
from osiris.learn_check.report import check_results, rise_over_base, summarize_edge
from osiris.learn_check.trial import Trial, TrialPlan, plan_for, record_drafts, run_trial
from osiris.llm.sources import locate_model
from osiris.market.synthetic import EDGES, Edge

AA_COMPARISONS = 1000
"""Comparisons of a model with itself; at a true share of 2.5 %, Wilson's interval is then about 2 points wide."""
__all__ = ["TrialPlan", "plan_for", "run_check"]


def run_check(
    edges: Sequence[Edge] = EDGES,
    seeds: Sequence[int] = range(5),
    plan: TrialPlan = TrialPlan(),
    jobs: int = 0,
    keep: Path | None = None,
) -> dict[str, Any]:
    """Run a trial for each edge and seed, and return their results as JSON values.

    `jobs` trials run at once (0: as many as there are cores). `keep` is a new or empty folder for the workspaces of the
    trials, which can be opened afterwards; without it they are deleted. Raises `NotFound` for a pretrained model that
    was not primed yet.
    """
    trials = [Trial(edge, seed, plan) for edge in edges if edge != "none" for seed in seeds]
    trials += [Trial("none", seeds[0], plan)] if "none" in edges else []
    with _workspaces_folder(keep) as folder:
        if plan.is_pretrained:
            locate_model(plan.model, "drafter", load_settings(folder).with_model(primed=True))
        results = _run_parallel(trials, folder, jobs or os.cpu_count() or 1)
    by_edge = {edge: [one for one in results if one["edge"] == edge] for edge in edges if edge != "none"}
    no_edge = next((one["aa"] for one in results if one["edge"] == "none"), None)
    coins: list[dict[str, float]] = next((one["coins"] for one in results if one["edge"] == "none"), [])
    means: dict[Edge, dict[str, Any]] = {edge: summarize_edge(group) for edge, group in by_edge.items()}
    checks = check_results(means, no_edge, coins)
    return {
        "passed": all(one["passed"] for one in checks),
        "checks": checks,
        "edges": means,
        "no_edge": no_edge,
        "no_skill": coins,
        "trials": [one for one in results if one["edge"] != "none"],
    }


def run_trial_process(trial: Trial, folder: Path, cache: Path, steps: Any) -> dict[str, Any]:
    """Run one trial in this process; its output goes to `trial.log`, the name of each step into the queue `steps`."""
    folder.mkdir()
    with open(folder / "trial.log", "w") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
        os.dup2(log.fileno(), sys.stdout.fileno())

    def step(what: str) -> None:
        steps.put((trial.name, what))

    if trial.edge == "none":
        recorded, settings = record_drafts(trial, folder, cache, 3 * CANDIDATES_PER_SIDE, step)
        aa = run_aa_comparisons(
            recorded, settings, AA_COMPARISONS, trial.plan.tickers * trial.plan.moments // 3, trial.seed
        )
        walks = RandomWalks(trial.seed, nights=trial.plan.coin_periods)
        return {"edge": trial.edge, "seed": trial.seed, "aa": aa, "coins": compare_coins(walks, step=step)}
    result = run_trial(trial, folder, cache, step)
    evaluations = result.pop("evaluations")
    rises = {name: rise_over_base(evaluations["base"], one) for name, one in evaluations.items() if name != "base"}
    judged = max(rises, default="base") if trial.plan.is_pretrained else result["served"]
    rise = rises.get(judged) or rise_over_base(*[evaluations["base"]] * 2)
    return result | {"judged": judged, "rises": rises, "rise": rise}


def _run_parallel(trials: Sequence[Trial], folder: Path, jobs: int) -> list[dict[str, Any]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    cache = load_settings(folder).model.cache.expanduser()
    set_environment(OMP_NUM_THREADS="1")  # torch asks for it when it is first loaded, in each of the processes
    context = multiprocessing.get_context("spawn")
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[doing]}"), TimeElapsedColumn())
    with (
        context.Manager() as manager,
        ProcessPoolExecutor(jobs, context) as pool,
        Progress(*columns, console=Console(stderr=True)) as bars,
    ):
        steps = manager.Queue()
        futures = [pool.submit(run_trial_process, trial, folder / trial.name, cache, steps) for trial in trials]
        tasks = {trial.name: bars.add_task(trial.name, total=trial.step_count, doing="waiting") for trial in trials}
        for name, what in _until_done(futures, steps):
            bars.update(tasks[name], advance=1, doing=what)
        return [future.result() for future in futures]


def _until_done(futures: "list[Future[dict[str, Any]]]", steps: Any) -> Iterator[tuple[str, str]]:
    """(trial, step) of each step that a trial reports, until all trials are done or one has failed."""
    waiting = True
    while waiting:
        done, pending = wait(futures, timeout=0.5)
        waiting = bool(pending) and not any(future.exception() for future in done)
        while not steps.empty():
            yield steps.get()


@contextmanager
def _workspaces_folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        yield create_folder(keep, "--keep")

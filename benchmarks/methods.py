"""The methods of learning from outcomes at equal budgets: `python benchmarks/methods.py [--seeds 5]`.

On a market with an edge the plain starter drafts once for many prompts. Each method trains one new adapter on what came
of these ideas: as many sequences an epoch for all but the last three, the same epochs, batches, LoRA and seed. What an
adapter is worth is measured on later prompts that are the same for all; the interval is Student's over the seeds.
`partners on top` has the pairs of one prompt and up to half as many partners; `accepted` sees the outcomes of two
candidates of six alone, and `fewer` as few pairs as `accepted` has, from all six: both make fewer steps, too.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from osiris.config.settings import load_settings, set_environment
from osiris.evaluation import heldout
from osiris.learn_check.report import rise_over_base, t_interval
from osiris.learn_check.trial import Trial, TrialPlan, draft_and_settle, prepare_trial, take_fresh_snapshots
from osiris.llm.generate import unconstrained
from osiris.llm.loader import load_drafter
from osiris.training.datasets import Row, build_ranked_pairs, build_unpaired
from osiris.training.methods import train_adapter
from osiris.training.pairs import (
    BARRIER_EXITS,
    PAIR_COLUMNS,
    build_pairs,
    find_cross_prompt_pair,
    find_outcome_pair,
    group_by_prompt,
    is_settled,
)
from osiris.training.recipe import load_recipe
from osiris.training.run import TrainingOptions
from osiris.workspace import Workspace, open_workspace

PLAN = TrialPlan(nights=2)
METHODS = {
    "same prompt": "dpo",
    "a quarter partners": "dpo",
    "cross-prompt": "dpo",
    "IPO": "ipo",
    "robust": "robust",
    "ranked by R": "ranked",
    "KTO": "kto",
    "SFT on winners": "winners",
    "partners on top": "dpo",
    "accepted": "dpo",
    "fewer": "dpo",
}
"""Each method's recipe."""
RISES = ["mean_r", "win_rate", "reward_to_risk", "valid_share"]


def experience(trial: Trial, folder: Path, cache: Path) -> tuple[str, int]:
    """Draft with the plain starter on all moments before the fresh ones, settle, and write what each method learns."""
    folder.mkdir()
    with quietly(folder.with_suffix(".log")):
        workspace = prepare_trial(trial, folder, cache)
        for night in range(PLAN.nights):
            draft_and_settle(workspace, trial, trial.market.moments[night * PLAN.moments :][: PLAN.moments])
        lessons = all_lessons(workspace, trial)
        (folder / "lessons.json").write_text(json.dumps(lessons))
        workspace.close()
    return trial.name, len(lessons["same prompt"])


def all_lessons(workspace: Workspace, trial: Trial) -> dict[str, list[dict[str, Any]]]:
    """What each method is shown: as many pairs as there are of one prompt, or twice as many single replies."""
    cutoff = workspace.now
    rows = workspace.advice.rows(None, PAIR_COLUMNS)
    gap = workspace.settings.training.max_ratio_gap
    prompts = [[row for row in group if is_settled(row, cutoff)] for group in group_by_prompt(rows).values()]

    def same_prompt(prompts: Sequence[list[Row]]) -> list[Any]:
        return [pair for ended in prompts if (pair := find_outcome_pair(ended, gap))]

    same = same_prompt(prompts)
    taught = [ended for ended in prompts if any(row["exit_reason"] in BARRIER_EXITS for row in ended)]
    cross = [pair for ended in taught if (pair := find_cross_prompt_pair(ended, workspace.advice, gap, cutoff))]
    rng = random.Random(trial.seed)
    accepted = [rng.sample(group, min(2, len(group))) for group in group_by_prompt(rows).values()]
    few = same_prompt([[row for row in group if is_settled(row, cutoff)] for group in accepted])
    on_top = workspace.settings.training.model_copy(update={"max_partner_share": 0.5})
    settings = workspace.settings.model_copy(update={"training": on_top})
    alone, both = build_unpaired(rows, cutoff), 2 * len(same)
    found = {
        "same prompt": same,
        "a quarter partners": [*evenly_of(same, len(same) * 3 // 4), *evenly_of(cross, len(same) // 4)],
        "cross-prompt": evenly_of(cross, len(same)),
        "IPO": same,
        "robust": same,
        "ranked by R": evenly_of(build_ranked_pairs(rows, cutoff), len(same)),
        "KTO": evenly_of(alone, both),
        "SFT on winners": evenly_of([one for one in alone if one.label], both),
        "partners on top": build_pairs(rows, workspace.advice, settings, cutoff),
        "accepted": few,
        "fewer": evenly_of(same, len(few)),
    }
    return {name: [lesson.line for lesson in lessons] for name, lessons in found.items()}


def evenly_of(lessons: Sequence[Any], most: int) -> list[Any]:
    """`most` of them, or all where there are not as many, evenly taken."""
    most = min(most, len(lessons))
    return [lessons[number * len(lessons) // most] for number in range(most)]


def worth(trial: Trial, folder: Path, method: str | None) -> tuple[str, str, heldout.Evaluation, dict[str, Any]]:
    """Train one adapter (none for `None`) and return what it does on the fresh prompts."""
    name = method or "starter"
    with quietly(folder / f"{name}.log".replace(" ", "-")):
        workspace = open_workspace(folder, trial.market.closes[-1])
        settings, told, adapter = workspace.settings, {}, None
        if method:
            lines, adapter = json.loads((folder / "lessons.json").read_text())[method], folder / name.replace(" ", "-")
            result = train_adapter(
                settings,
                lines,
                TrainingOptions(None, adapter, load_recipe(METHODS[method], "dpo", "kto", "sft"), trial.seed),
            )
            told = {"rows": len(lines), "seconds": result.seconds}
        end, shots = take_fresh_snapshots(workspace, trial)
        found = heldout.evaluate_drafter(
            load_drafter(settings, adapter), shots, workspace.prices, unconstrained(settings), end
        )
        workspace.close()
    return trial.name, name, found, told


@contextlib.contextmanager
def quietly(log: Path) -> Any:
    """All that this process prints goes to a file."""
    kept = [os.dup(stream.fileno()) for stream in (sys.stdout, sys.stderr)]
    with open(log, "w") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
        try:
            yield
        finally:
            for stream, back in zip((sys.stdout, sys.stderr), kept, strict=True):
                stream.flush()
                os.dup2(back, stream.fileno())
                os.close(back)


def table(found: dict[str, dict[str, heldout.Evaluation]], told: dict[str, list[dict[str, Any]]]) -> pd.DataFrame:
    """A row a method: means over the seeds; R less the starter's and less that of `same prompt`, with intervals.

    A method after which a seed makes no trade, since no reply is valid, has no mean.
    """
    rows = []
    for method in told:
        rises = pd.DataFrame([rise_over_base(one["starter"], one[method]) for one in found.values()], columns=RISES)
        less = [mean_r(one[method]) - mean_r(one["same prompt"]) for one in found.values()]
        rows.append({
            "method": method,
            "rows": sum(one["rows"] for one in told[method]) / len(told[method]),
            "seconds": sum(one["seconds"] for one in told[method]) / len(told[method]),
            "r": rises["mean_r"].mean(skipna=False), "r_interval": t_interval(rises["mean_r"]),
            "least_r": rises["mean_r"].min(skipna=False),
            "to_same_prompt": sum(less) / len(less), "to_same_prompt_interval": t_interval(less),
            "win_rate": rises["win_rate"].mean(skipna=False),
            "reward_to_risk": rises["reward_to_risk"].mean(skipna=False),
            "valid": rises["valid_share"].mean(), "least_valid": rises["valid_share"].min(),
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values("r", ascending=False)


def mean_r(evaluation: heldout.Evaluation) -> float:
    """Of all trades; NaN without any."""
    return evaluation.metrics().get("mean_r", float("nan"))


def shown(frame: pd.DataFrame) -> Table:
    """The table for a terminal."""
    made = Table("method", "rows", "s", "R to the starter", "least", "R to same prompt", "win rate", "R:R", "valid")
    for row in frame.to_dict("records"):
        intervals = ["[{:+.2f}, {:+.2f}]".format(*row[key]) for key in ("r_interval", "to_same_prompt_interval")]
        made.add_row(
            row["method"], f"{row['rows']:.0f}", f"{row['seconds']:.0f}", f"{row['r']:+.2f} {intervals[0]}",
            f"{row['least_r']:+.2f}", f"{row['to_same_prompt']:+.2f} {intervals[1]}", f"{row['win_rate']:+.1%}",
            f"{row['reward_to_risk']:+.1%}", f"{row['valid']:.1%} ({row['least_valid']:.1%})",
        )  # fmt: skip
    return made


def main() -> None:
    """Measure, print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", choices=["momentum", "reversal"], default="momentum")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=10)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where to write the table")
    asked = parser.parse_args()
    if "same prompt" not in asked.methods:
        parser.error("`same prompt` is what the others are compared with")
    trials = [Trial(asked.edge, seed, PLAN) for seed in range(asked.first_seed, asked.first_seed + asked.seeds)]
    set_environment(OMP_NUM_THREADS="1")
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as place, processes(asked.jobs) as pool:
        cache = load_settings(Path(place)).model.cache.expanduser()
        folders = {trial.name: Path(place) / trial.name for trial in trials}
        ready = [pool.submit(experience, trial, folders[trial.name], cache) for trial in trials]
        for done in track(as_completed(ready), "Drafting", len(ready), console=console):
            console.print("{}: {} pairs of one prompt".format(*done.result()))
        work = [pool.submit(worth, t, folders[t.name], method) for method in (None, *asked.methods) for t in trials]
        found: dict[str, dict[str, heldout.Evaluation]] = {trial.name: {} for trial in trials}
        told: dict[str, list[dict[str, Any]]] = {}
        for number, done in zip(count(1), track(as_completed(work), "Training", len(work), console=console)):
            name, method, evaluation, about = done.result()
            found[name][method] = evaluation
            if method != "starter":
                told.setdefault(method, []).append(about)
            console.print(f"{number}/{len(work)} {name} {method}: {mean_r(evaluation):+.3f} R", highlight=False)
    frame = table(found, {method: told[method] for method in asked.methods})
    if asked.json:
        frame.to_json(asked.json, orient="records", indent=1)
    Console(width=140).print(shown(frame))


def processes(jobs: int) -> ProcessPoolExecutor:
    """Fresh ones, which read `OMP_NUM_THREADS` when they load torch."""
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))


if __name__ == "__main__":
    main()

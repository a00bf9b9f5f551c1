"""A/A comparisons: how often the gate promotes an adapter over itself.

One model drafts many ideas for each prompt, once, on a market without drift. Each comparison then resamples prompts
with replacement. It deals their recorded ideas to a challenger and a champion, which are the same model.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.config.settings import Settings
from osiris.evaluation.gate import compare_adapters
from osiris.evaluation.heldout import Evaluation
from osiris.learn_check.report import promoted_share

CANDIDATES_PER_SIDE = 4
"""Ideas of the challenger, and of the champion, for a prompt, as in the comparisons of a trial."""


def run_aa_comparisons(
    recorded: Evaluation, settings: Settings, count: int, prompts: int, seed: int
) -> dict[str, float]:
    """Compare `count` times on `prompts` resampled prompts; the share promoted has Wilson's 95 % interval.

    `recorded` needs at least `2 * CANDIDATES_PER_SIDE` trades on most prompts; prompts with fewer are left out.
    """
    rng = np.random.default_rng(seed)
    trades = recorded.filled
    groups = [group.index.to_numpy() for _, group in trades.groupby("prompt") if len(group) >= 2 * CANDIDATES_PER_SIDE]
    promoted = sum(_promoted(trades, groups, settings, prompts, rng) for _ in range(count))
    return promoted_share(promoted, count) | {"prompts": prompts, "mean_r": float(trades["r"].mean())}


def _promoted(
    trades: pd.DataFrame, groups: list[NDArray[np.int64]], settings: Settings, prompts: int, rng: np.random.Generator
) -> bool:
    """Whether one comparison promotes; `groups` has the row labels of each prompt's trades."""
    drawn = rng.integers(len(groups), size=prompts)
    # shape (prompts, 2 * CANDIDATES_PER_SIDE): the left half is dealt to the challenger, the right to the champion
    dealt = np.array([rng.permutation(groups[number])[: 2 * CANDIDATES_PER_SIDE] for number in drawn])
    sides = [
        trades.loc[part.ravel()].assign(prompt=np.repeat(np.arange(prompts), CANDIDATES_PER_SIDE))
        for part in (dealt[:, :CANDIDATES_PER_SIDE], dealt[:, CANDIDATES_PER_SIDE:])
    ]
    count = prompts * CANDIDATES_PER_SIDE
    challenger, champion = (
        Evaluation(name, prompts, count, count, side) for name, side in zip("AB", sides, strict=True)
    )
    return compare_adapters(challenger, champion, settings).promoted

"""What a score of Hermes is worth: the probability of a win, learned from how earlier scores ended.

An example: of the ideas that Hermes gave 8 or more, 40 % won so far. So a new idea with an 8 has a win probability of
about 40 %, whatever the judge meant by an 8. The curve from scores to probabilities rises or stays level (isotonic
regression; Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass probability estimates").
Only outcomes that were known when an idea was drafted count, so every probability is a forecast.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from osiris.core.arrays import FloatArray
from osiris.llm.scores import MAX_SCORE, Score
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import escape_sql, sql_time

MIN_OUTCOMES = 50
"""Fewer outcomes give no curve: the share of wins alone has a standard error of 7 points then."""
PRIOR_OUTCOMES = 10.0
"""Imagined outcomes at the lowest and at the highest score, with the usual share of wins.

Without them the ends of the curve are 0 and 1 after a few outcomes of one kind.
"""


@dataclass(frozen=True)
class ScoredOutcomes:
    """Ideas that a judge scored and that ended: scores 0-10, wins (1 or 0) and moments in ns, each shape (n,)."""

    scores: FloatArray
    wins: FloatArray
    known_at: np.ndarray

    def forecast(self, scores: FloatArray, as_of: datetime) -> FloatArray | None:
        """The win probability of each score, shape (k,), by the outcomes known at `as_of`; `None` for too few."""
        import pandas as pd
        from sklearn.isotonic import IsotonicRegression

        known = self.known_at <= pd.Timestamp(as_of).as_unit("ns").value
        wins = self.wins[known]
        if len(wins) < MIN_OUTCOMES or wins.min() == wins.max():
            return None
        usual = wins.mean()
        given = np.concatenate([self.scores[known], [0.0, MAX_SCORE]])
        weights = np.concatenate([np.ones(len(wins)), [PRIOR_OUTCOMES, PRIOR_OUTCOMES]])
        curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        curve.fit(given, np.concatenate([wins, [usual, usual]]), sample_weight=weights)
        return np.asarray(curve.predict(scores), np.float64)


def load_scored_outcomes(advice: AdviceStore, judge: str, until: datetime) -> ScoredOutcomes:
    """The scores of `judge` whose ideas won or lost by `until`, shadow ideas included; ambiguous ones are left out."""
    where = (
        f"outcome IN ('win', 'loss') AND ambiguous = false AND hermes_raw IS NOT NULL "
        f"AND judge = '{escape_sql(judge)}' AND closed_at <= {sql_time(until)}"
    )
    ideas = advice.frame(where, ["hermes_raw", "hermes_expected", "outcome", "closed_at"])
    scores = ideas["hermes_expected"].astype(float).fillna(ideas["hermes_raw"].astype(float))
    known = ideas["closed_at"].astype("datetime64[ns, UTC]").astype("int64").to_numpy()
    wins = np.asarray(ideas["outcome"] == "win", np.float64)
    return ScoredOutcomes(np.asarray(scores, np.float64), wins, known)


def curve_score(score: Score | None) -> float:
    """The number that the curve is read at: the expected one, which tells more ideas apart, else the likeliest.

    NaN for an idea without a score.
    """
    if score is None or score.raw is None:
        return float("nan")
    return score.raw if score.expected is None else score.expected

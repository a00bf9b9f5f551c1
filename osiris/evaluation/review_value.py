"""What reviews are worth: compare how accepted ideas ended with rejected ideas, and edited ideas with their originals.

Ideas of one session share their market, so a session is the unit of chance: `stats.py` has the intervals. Ideas that
are still open are left out. So are those whose result depends on the order of prices inside one bar (`ambiguous`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.config.settings import PricesSettings, Settings
from osiris.core.arrays import FloatArray
from osiris.core.ideas import FINAL_OUTCOMES, Outcome, Status
from osiris.evaluation.stats import (
    Estimate,
    SessionValues,
    estimate_mean,
    estimate_mean_difference,
    estimate_rate,
)
from osiris.labeling.label import label_frame
from osiris.market.calendars import calendar_of, timezone_of
from osiris.market.provider import BarProvider
from osiris.market.timeline import BASIS_LOOKBACK
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import DECIDED_SQL, sql_time

DECIDED_COLUMNS = [
    "id", "ticker", "side", "entry", "target", "stop", "as_of", "basis_at", "status", "status_at", "outcome",
    "r_multiple", "ambiguous", "closed_at",
]  # fmt: skip


@dataclass(frozen=True)
class ReviewValue:
    """Estimates: `approval_rate`; win rate and mean R by status; differences in mean R."""

    approval_rate: Estimate
    win_rate: Mapping[str, Estimate]
    expectancy: Mapping[str, Estimate]
    approved_over_rejected: Estimate
    edited_over_original: Estimate

    def to_frame(self) -> pd.DataFrame:
        """One row per estimate: what, value, low, high, ideas, sessions."""
        rows = {
            "approval rate": self.approval_rate,
            **{f"win rate, {name}": estimate for name, estimate in self.win_rate.items()},
            **{f"mean R, {name}": estimate for name, estimate in self.expectancy.items()},
            "mean R, approved minus rejected": self.approved_over_rejected,
            "mean R, edited minus as drafted": self.edited_over_original,
        }
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "ideas", "sessions"])
        return frame.rename_axis("what").round(3)


def estimate_review_value(
    advice: AdviceStore, prices: BarProvider, settings: Settings, as_of: pd.Timestamp
) -> ReviewValue:
    """What reviews were worth up to `as_of`. Edited ideas are also labelled with their levels from before the edit."""
    decided = advice.frame(f"{DECIDED_SQL} AND status_at <= {sql_time(as_of)}", DECIDED_COLUMNS)
    decided["session"] = draft_dates(decided, settings.prices)
    accepted = np.asarray(decided["status"].isin([Status.APPROVED, Status.EDITED]), np.float64)
    ended = decided[_is_certain(decided) & ~(decided["closed_at"] > as_of)]
    groups = {
        str(status): ended[ended["status"] == status] for status in (Status.APPROVED, Status.EDITED, Status.REJECTED)
    }
    edited = groups[Status.EDITED]
    originals = _relabel_originals(advice, edited, prices, settings, as_of)
    groups["edited, as drafted"] = originals
    return ReviewValue(
        approval_rate=estimate_rate(accepted, _sessions(decided)),
        win_rate={name: estimate_rate(_wins(group), _sessions(group)) for name, group in groups.items()},
        expectancy={name: estimate_mean(*_r_multiples(group)) for name, group in groups.items()},
        approved_over_rejected=estimate_difference(groups[Status.APPROVED], groups[Status.REJECTED]),
        # Both sides hold the same ideas, so they are counted once.
        edited_over_original=estimate_difference(edited[edited["id"].isin(originals["id"])], originals)._replace(
            count=len(originals)
        ),
    )


def estimate_difference(left: pd.DataFrame, right: pd.DataFrame) -> Estimate:
    """Mean R of `left` minus that of `right` (columns `session`, `r_multiple`), resampled over the sessions of both."""
    return estimate_mean_difference(_r_multiples(left), _r_multiples(right))


def draft_dates(ideas: pd.DataFrame, price_settings: PricesSettings) -> pd.Series:
    """The day that each idea was drafted on, in the time zone of the exchange of its ticker."""
    zones = ideas["ticker"].map(lambda ticker: timezone_of(calendar_of(ticker, price_settings)))
    days = [moment.tz_convert(zone).date() for moment, zone in zip(ideas["as_of"], zones, strict=True)]
    return pd.Series(pd.to_datetime(days), ideas.index)


def _relabel_originals(
    advice: AdviceStore, edited: pd.DataFrame, prices: BarProvider, settings: Settings, as_of: pd.Timestamp
) -> pd.DataFrame:
    """The edited ideas with their drafted levels, and how they would have ended. Uncertain results are left out."""
    originals_json = {
        row["transaction_id"]: row["original"] for row in advice.feedback("action = 'edited'") if row["original"]
    }
    drafted = edited[edited["id"].isin(originals_json)]
    if drafted.empty:
        return drafted
    levels = pd.DataFrame([json.loads(originals_json[i]) for i in drafted["id"]], index=drafted.index)
    drafted = drafted.assign(**{name: levels[name] for name in ("entry", "target", "stop")}, since=drafted["status_at"])
    timelines = prices.get_timelines(sorted(drafted["ticker"].unique()), drafted["as_of"].min() - BASIS_LOOKBACK, as_of)
    labels = label_frame(drafted, timelines, settings.outcomes, as_of).set_index("id")
    drafted = drafted.assign(
        **{name: drafted["id"].map(labels[name]) for name in ("outcome", "r_multiple", "ambiguous")}
    )
    return drafted[_is_certain(drafted)]


def _is_certain(ideas: pd.DataFrame) -> pd.Series:
    """Whether each idea ended with a result that does not depend on the order of prices inside one bar."""
    return (
        ideas["outcome"].isin(FINAL_OUTCOMES)
        & ~ideas["ambiguous"].fillna(False).astype(bool)
        & ideas["r_multiple"].notna()
    )


def _sessions(ideas: pd.DataFrame) -> NDArray:
    return ideas["session"].to_numpy()


def _wins(ideas: pd.DataFrame) -> FloatArray:
    """1 for each idea that won, 0 for the rest, shape (ideas,)."""
    return np.asarray(ideas["outcome"].eq(Outcome.WIN), np.float64)


def _r_multiples(ideas: pd.DataFrame) -> SessionValues:
    """The outcome of each idea in R, with its session."""
    return SessionValues(ideas["r_multiple"].to_numpy(float), _sessions(ideas))

"""What a review is worth: how the ideas that people accepted ended, against those they rejected and left unedited.

Ideas of one session share their market, so a session is the unit of chance: rates get Wilson's interval with the
effective sample size of a cluster sample (Dean & Pagano 2015), means and differences a bootstrap over sessions. What is
still open, or was closed in doubt (`ambiguous`), is left out.
"""

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from osiris.config.settings import PricesSettings, Settings
from osiris.core.ideas import FINAL_OUTCOMES, Outcome, Status
from osiris.labeling.label import label_frame
from osiris.market.calendars import calendar_of, timezone_of
from osiris.market.provider import BarProvider
from osiris.market.timeline import BASIS_LOOKBACK
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import DECIDED_SQL, sql_time

CONFIDENCE_LEVEL, BOOTSTRAP_RESAMPLES, BOOTSTRAP_SEED = 0.95, 4_000, 0
MIN_BOOTSTRAP_SESSIONS = 10
"""Below this a bootstrap claims too much: of its 95 % intervals 57 to 87 % covered the truth with 2 to 5 sessions."""
DECIDED_COLUMNS = [
    "id", "ticker", "side", "entry", "target", "stop", "as_of", "basis_at", "status", "status_at", "outcome",
    "r_multiple", "ambiguous", "closed_at",
]  # fmt: skip


class Estimate(NamedTuple):
    """A value with its confidence interval (NaN where there is too little), from `count` ideas of `sessions`."""

    value: float
    low: float
    high: float
    count: int
    sessions: int


@dataclass(frozen=True)
class ReviewValue:
    """Estimates: `approval_rate`; win rate and mean R by status; differences in mean R."""

    approval_rate: Estimate
    win_rate: dict[str, Estimate]
    expectancy: dict[str, Estimate]
    approved_over_rejected: Estimate
    edited_over_original: Estimate

    def to_frame(self) -> pd.DataFrame:
        """A row an estimate: what, value, low, high, ideas, sessions."""
        rows = {
            "approval rate": self.approval_rate,
            **{f"win rate, {name}": found for name, found in self.win_rate.items()},
            **{f"mean R, {name}": found for name, found in self.expectancy.items()},
            "mean R, approved minus rejected": self.approved_over_rejected,
            "mean R, edited minus as drafted": self.edited_over_original,
        }
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "ideas", "sessions"])
        return frame.rename_axis("what").round(3)


def estimate_review_value(
    advice: AdviceStore, prices: BarProvider, settings: Settings, as_of: pd.Timestamp
) -> ReviewValue:
    """What reviews were worth up to `as_of`; the ideas as they were before an edit are judged by the same rules."""
    decided = advice.frame(f"{DECIDED_SQL} AND status_at <= {sql_time(as_of)}", DECIDED_COLUMNS)
    decided["session"] = draft_dates(decided, settings.prices)
    accepted = decided["status"].isin([Status.APPROVED, Status.EDITED]).to_numpy(float)
    ended = decided[_is_certain(decided) & ~(decided["closed_at"] > as_of)]
    groups = {name: ended[ended["status"] == name] for name in (Status.APPROVED, Status.EDITED, Status.REJECTED)}
    edited = groups[Status.EDITED]
    originals = _relabel_originals(advice, edited, prices, settings, as_of)
    groups = {str(name): group for name, group in groups.items()} | {"edited, as drafted": originals}
    return ReviewValue(
        estimate_rate(accepted, _sessions(decided)),
        {name: estimate_rate(_wins(group), _sessions(group)) for name, group in groups.items()},
        {name: estimate_mean(_r_multiples(group), _sessions(group)) for name, group in groups.items()},
        estimate_difference(groups["approved"], groups["rejected"]),
        estimate_difference(edited[edited["id"].isin(originals["id"])], originals)._replace(count=len(originals)),
    )


def estimate_rate(successes: NDArray[np.float64], session: NDArray) -> Estimate:
    """The share of 1 in `happened`, shape (n,) of 0 and 1, with Wilson's interval."""
    count, sums, counts = len(successes), *_sum_by_session(successes, session)
    if not count:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    share, clusters = successes.mean(), len(counts)
    variance = share * (1 - share) / count
    if clusters > 1 and variance:
        clustered = np.sum((sums - share * counts) ** 2) / count**2 * clusters / (clusters - 1)
        effective = count / max(clustered / variance, 1)
    else:
        effective = clusters  # all alike, or a single session: nothing tells how alike the ideas of one are
    z = norm.ppf((1 + CONFIDENCE_LEVEL) / 2)
    middle, scale = (share + z**2 / (2 * effective)), 1 + z**2 / effective
    half = z * np.sqrt(share * (1 - share) / effective + z**2 / (4 * effective**2))
    return Estimate(share, (middle - half) / scale, (middle + half) / scale, count, clusters)


def estimate_mean(values: NDArray[np.float64], session: NDArray) -> Estimate:
    """The mean of `values`, shape (n,), with a percentile interval over resampled sessions, if enough."""
    sums, counts = _sum_by_session(values, session)
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    weights = _resample_weights(len(counts))
    low, high = (
        _interval((weights @ sums) / (weights @ counts)) if len(counts) >= MIN_BOOTSTRAP_SESSIONS else (np.nan, np.nan)
    )
    return Estimate(values.mean(), low, high, len(values), len(counts))


def estimate_difference(left: pd.DataFrame, right: pd.DataFrame) -> Estimate:
    """Mean R of `left` minus that of `right` (columns `session`, `r_multiple`), resampled over the sessions of both."""
    if left.empty or right.empty:
        return Estimate(np.nan, np.nan, np.nan, len(left) + len(right), 0)
    sessions = np.unique(np.concatenate([_sessions(left), _sessions(right)]))
    (s1, n1), (s2, n2) = (_sum_by_session(_r_multiples(group), _sessions(group), sessions) for group in (left, right))
    low = high = np.nan
    if min((n1 > 0).sum(), (n2 > 0).sum()) >= MIN_BOOTSTRAP_SESSIONS:
        weights = _resample_weights(len(sessions))
        with np.errstate(invalid="ignore"):
            low, high = _interval((weights @ s1) / (weights @ n1) - (weights @ s2) / (weights @ n2))
    value = _r_multiples(left).mean() - _r_multiples(right).mean()
    return Estimate(value, low, high, len(left) + len(right), len(sessions))


def _relabel_originals(
    advice: AdviceStore, edited: pd.DataFrame, prices: BarProvider, settings: Settings, as_of: pd.Timestamp
) -> pd.DataFrame:
    """The edited ideas with the levels they were drafted with, and how they would have ended; the sure ones."""
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
    found = {name: drafted["id"].map(labels[name]) for name in ("outcome", "r_multiple", "ambiguous")}
    drafted = drafted.assign(**found)
    return drafted[_is_certain(drafted)]


def _is_certain(ideas: pd.DataFrame) -> pd.Series:
    return (
        ideas["outcome"].isin(FINAL_OUTCOMES)
        & ~ideas["ambiguous"].fillna(False).astype(bool)
        & ideas["r_multiple"].notna()
    )


def draft_dates(ideas: pd.DataFrame, price_settings: PricesSettings) -> pd.Series:
    """The day that each idea was drafted on, where its ticker trades."""
    zone = ideas["ticker"].map(lambda ticker: timezone_of(calendar_of(ticker, price_settings)))
    days = [moment.tz_convert(where).date() for moment, where in zip(ideas["as_of"], zone, strict=True)]
    return pd.Series(pd.to_datetime(days), ideas.index)


def _sessions(ideas: pd.DataFrame) -> NDArray:
    return ideas["session"].to_numpy()


def _wins(group: pd.DataFrame) -> NDArray[np.float64]:
    return group["outcome"].eq(Outcome.WIN).to_numpy(float)


def _r_multiples(group: pd.DataFrame) -> NDArray[np.float64]:
    return group["r_multiple"].to_numpy(float)


def _sum_by_session(
    values: NDArray[np.float64], session: NDArray, sessions: NDArray | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum and count of `values` in each of `sessions` (default: those that occur)."""
    known = np.unique(session) if sessions is None else sessions
    code = np.searchsorted(known, session)
    return np.bincount(code, values, len(known)), np.bincount(code, minlength=len(known))


def _resample_weights(sessions: int) -> NDArray[np.int64]:
    """How often each session is drawn in each resample, shape (RESAMPLES, sessions)."""
    return np.random.default_rng(BOOTSTRAP_SEED).multinomial(
        sessions, np.full(sessions, 1 / sessions), BOOTSTRAP_RESAMPLES
    )


def _interval(found: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE_LEVEL) / 2
    return tuple(np.nanquantile(found, [tail, 1 - tail]))

"""Queries of a reviewer: lists of ideas, filtered, sorted and in pages, and the details of one idea."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import pandas as pd

from osiris.core.errors import BadInput, NoPrices
from osiris.core.ideas import EXIT_COLUMNS, Outcome, Status
from osiris.core.schemas import advice_schema
from osiris.core.types import Row
from osiris.market.bar_frames import adjust_splits, cumulative_split
from osiris.market.bar_store import BarStore
from osiris.market.calendars import PRICE_COLUMNS
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import escape_sql, sql_in, sql_time

if TYPE_CHECKING:
    import pyarrow as pa

CLIENT_COLUMNS = [name for name in advice_schema().names if name not in ("vector", "prompt", "reply")]
"""The columns of an idea that clients see."""
MAX_RELATED_IDEAS = 8
"""The largest number of earlier ideas, and of similar ideas, in the details of an idea."""
BARS_BEFORE = timedelta(days=120)
BARS_AFTER = timedelta(days=120)
BAR_COLUMNS = ["end", *PRICE_COLUMNS, "volume"]


class SortKey(StrEnum):
    """The keys by which ideas can be sorted. `reward_to_risk` is computed from the levels."""

    AS_OF = "as_of"
    TICKER = "ticker"
    SIDE = "side"
    REWARD_TO_RISK = "reward_to_risk"
    HERMES = "hermes_score"
    WIN_PROBABILITY = "hermes_win_probability"
    CONFIDENCE = "confidence"
    ADAPTER = "adapter"
    STATUS = "status"
    OUTCOME = "outcome"
    R_MULTIPLE = "r_multiple"


@dataclass(frozen=True)
class IdeaQuery:
    """A filter and an order of ideas. An empty field does not filter."""

    status: Status | None = None
    outcome: Outcome | None = None
    ticker: str = ""
    since: datetime | None = None
    before: datetime | None = None
    ids: Sequence[str] = ()
    sort: SortKey = SortKey.AS_OF
    descending: bool = True

    @property
    def where(self) -> str | None:
        """The filter as SQL, or `None` for all ideas."""
        clauses = [
            f"status = '{self.status}'" if self.status else "",
            f"outcome = '{self.outcome}'" if self.outcome else "",
            f"ticker = '{escape_sql(self.ticker)}'" if self.ticker else "",
            f"as_of >= {sql_time(self.since)}" if self.since else "",
            f"as_of < {sql_time(self.before)}" if self.before else "",
            sql_in("id", self.ids) if self.ids else "",
        ]
        return " AND ".join(filter(None, clauses)) or None


@dataclass(frozen=True)
class Page:
    """A page of the matching ideas, the number of matching ideas before it, and the number of all matching ideas."""

    ideas: list[Row]
    offset: int
    total: int


def list_ideas(advice: AdviceStore, query: IdeaQuery, offset: int, limit: int, after: Sequence[str] = ()) -> Page:
    """Return up to `limit` matching ideas after the first `offset`.

    Ties are sorted by moment (newest first), then by id; nulls come last. With `after`, the page begins behind the last
    of these ideas, plus `offset`. For example, pass the ids of the page before. Then no idea is left out when ideas of
    that page were decided meanwhile, and no idea is repeated when new ideas were drafted. So the ideas of `after` need
    not match the filter themselves. Unknown ids are ignored.
    """
    ids = _sorted_ids(advice, query, query.where)
    start = offset
    if after:
        after_ids = set(after)
        order = _sorted_ids(advice, query, f"({query.where or 'true'}) OR {sql_in('id', after)}")
        past = set(order[: max((n + 1 for n, idea in enumerate(order) if idea in after_ids), default=0)])
        start += sum(idea in past for idea in ids)
    chosen = ids[start : start + limit]
    rows = {row["id"]: row for row in advice.rows(_ids_sql(chosen), CLIENT_COLUMNS)} if chosen else {}
    return Page([rows[idea] for idea in chosen if idea in rows], min(start, len(ids)), len(ids))


def _sorted_ids(advice: AdviceStore, query: IdeaQuery, where: str | None) -> list[str]:
    """Return the ids of the ideas that fit `where`, in the order of `query`."""
    columns = ("side", "entry", "target", "stop") if query.sort is SortKey.REWARD_TO_RISK else (str(query.sort),)
    keys = advice.table(where, ["id", "as_of", *columns])
    if query.sort is SortKey.REWARD_TO_RISK:
        keys = keys.append_column(str(SortKey.REWARD_TO_RISK), _reward_to_risk(keys))
    direction = "descending" if query.descending else "ascending"
    order = [(str(query.sort), direction), *([] if query.sort is SortKey.AS_OF else [("as_of", "descending")])]
    return keys.sort_by([*order, ("id", "ascending")])["id"].to_pylist()


def get_idea_details(advice: AdviceStore, bars: BarStore, idea: str, as_of: datetime) -> Row:
    """Return related ideas and the prices of an idea, as they were known at `as_of`.

    `siblings` are the other ideas of the same prompt, and `earlier` the last ideas on the ticker before it. `similar`
    are the nearest ideas by vector that were drafted before it and have a final outcome, with their `distance` (L2).
    `bars` (null without prices) has columns of equal length: `end`, `open`, `high`, `low`, `close`, `volume`. Their
    prices are in the basis of the idea. Raises `NotFound` for an unknown idea.
    """
    row = advice.get(idea)
    before = f"as_of < {sql_time(row['as_of'])}"
    ended = f"outcome IN ('win', 'loss', 'breakeven') AND (closed_at IS NULL OR closed_at <= {sql_time(as_of)})"
    siblings = advice.rows(
        f"prompt_id = '{escape_sql(row['prompt_id'])}' AND id <> '{escape_sql(idea)}'", CLIENT_COLUMNS
    )
    earlier = list_ideas(
        advice, IdeaQuery(ticker=row["ticker"], before=min(row["as_of"], as_of)), 0, MAX_RELATED_IDEAS
    ).ideas
    return {
        "siblings": [_hide_later_outcome(other, as_of) for other in siblings],
        "earlier": [_hide_later_outcome(other, as_of) for other in earlier],
        "similar": _similar(advice, row, f"{before} AND {ended}"),
        "bars": _bars(bars, row, as_of),
    }


def _hide_later_outcome(row: Row, as_of: datetime) -> Row:
    """Return the idea, without its outcome if that came after `as_of`."""
    if row["closed_at"] is None or row["closed_at"] <= as_of:
        return row
    return row | dict.fromkeys(("outcome", *EXIT_COLUMNS, "event_id", "published_at"))


def _similar(advice: AdviceStore, row: Row, where: str) -> list[Row]:
    nearest = advice.nearest(row["vector"], where, MAX_RELATED_IDEAS)
    return [{**{name: n[name] for name in CLIENT_COLUMNS}, "distance": float(n["_distance"]) ** 0.5} for n in nearest]


def _bars(bars: BarStore, row: Row, as_of: datetime) -> Row | None:
    try:
        frame = bars.get(row["ticker"], row["as_of"] - BARS_BEFORE, min(as_of, row["as_of"] + BARS_AFTER))
    except (NoPrices, BadInput):  # `BadInput`: the ticker is no symbol
        return None
    rebased_bars = rebase_to(frame, row["basis_at"] or row["as_of"])
    rebased_bars["end"] = [end.isoformat() for end in rebased_bars["end"]]
    return {name: rebased_bars[name].tolist() for name in BAR_COLUMNS} if len(rebased_bars) else None


def rebase_to(frame: pd.DataFrame, basis_at: datetime) -> pd.DataFrame:
    """Return the bars with prices and volumes in the basis of the last bar that ended at or before `basis_at`.

    If no bar ended by then, the basis is that of the first bar.
    """
    rebased_bars = adjust_splits(frame)
    if len(rebased_bars):
        cumulative = cumulative_split(frame)  # shape (bars,): the product of the split factors up to each bar
        reference = max(int((frame["end"] <= pd.Timestamp(basis_at)).sum()) - 1, 0)
        # `adjust_splits` gives the basis of the last bar. The splits after the reference bar lead back to its basis.
        factor = cumulative[-1] / cumulative[reference]
        rebased_bars[[*PRICE_COLUMNS]] *= factor
        rebased_bars["volume"] = rebased_bars["volume"] / factor
    return rebased_bars


def _ids_sql(ids: Sequence[str]) -> str | None:
    """Return SQL for these ids, or `None` for many: reading all ideas is then faster than comparing with each id."""
    return sql_in("id", ids) if len(ids) <= 1_000 else None


def _reward_to_risk(levels: "pa.Table") -> "pa.ChunkedArray":
    """Return |target - entry| / |entry - stop| of each idea."""
    import pyarrow.compute as pc

    reward, risk = (pc.abs(pc.subtract(levels[name], levels["entry"])) for name in ("target", "stop"))
    return pc.divide(reward, risk)

"""Ideas as a reviewer asks for them: filtered, sorted and a page at a time, and what stands beside one of them."""

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
"""The columns that clients see."""
MAX_RELATED_IDEAS = 8
"""Ideas of each kind that stand beside one."""
BARS_BEFORE, BARS_AFTER = timedelta(days=120), timedelta(days=120)
BAR_COLUMNS = ["end", *PRICE_COLUMNS, "volume"]


class SortKey(StrEnum):
    """What ideas can be sorted by; `reward_to_risk` is computed from the levels."""

    AS_OF = "as_of"
    TICKER = "ticker"
    SIDE = "side"
    REWARD_TO_RISK = "reward_to_risk"
    HERMES = "hermes_score"
    CONFIDENCE = "confidence"
    ADAPTER = "adapter"
    STATUS = "status"
    OUTCOME = "outcome"
    R_MULTIPLE = "r_multiple"


@dataclass(frozen=True)
class IdeaQuery:
    """Which ideas, in which order; every field narrows, an empty one does not."""

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
        """The filter as SQL; `None` for all ideas."""
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
    """Some of the ideas that were wanted, how many stand ahead of them, and how many there are."""

    ideas: list[Row]
    offset: int
    total: int


def list_ideas(advice: AdviceStore, query: IdeaQuery, offset: int, limit: int, after: Sequence[str] = ()) -> Page:
    """The `limit` ideas behind the first `offset` ones; ties by moment (newest first), then by id; nulls last.

    With `after`, ids of ideas that need not fit themselves, only what is behind all of them is counted: what was
    decided on meanwhile leaves no idea out, and what was drafted meanwhile repeats none. Ids of no idea are ignored.
    """
    ids, start = _sorted_ids(advice, query, query.where), offset
    if after:
        seen = set(after)
        order = _sorted_ids(advice, query, f"({query.where or 'true'}) OR {sql_in('id', after)}")
        past = set(order[: max((n + 1 for n, one in enumerate(order) if one in seen), default=0)])
        start += sum(one in past for one in ids)
    chosen = ids[start : start + limit]
    found = {row["id"]: row for row in advice.rows(_ids_sql(chosen), CLIENT_COLUMNS)} if chosen else {}
    return Page([found[i] for i in chosen if i in found], min(start, len(ids)), len(ids))


def _sorted_ids(advice: AdviceStore, query: IdeaQuery, where: str | None) -> list[str]:
    levels = ("side", "entry", "target", "stop") if query.sort is SortKey.REWARD_TO_RISK else (str(query.sort),)
    keys = advice.table(where, ["id", "as_of", *levels])
    if query.sort is SortKey.REWARD_TO_RISK:
        keys = keys.append_column(str(SortKey.REWARD_TO_RISK), _reward_to_risk(keys))
    direction = "descending" if query.descending else "ascending"
    order = [(str(query.sort), direction), *([] if query.sort is SortKey.AS_OF else [("as_of", "descending")])]
    return keys.sort_by([*order, ("id", "ascending")])["id"].to_pylist()


def get_idea_details(advice: AdviceStore, bars: BarStore, idea: str, as_of: datetime) -> Row:
    """What a reviewer wants beside an idea at `as_of`: lists of ideas, and the price in the idea's basis.

    `siblings` came from the same prompt, `earlier` ones are the last on the ticker, `similar` ones the nearest by
    vector that were drafted before it and have a final outcome, with their `distance` (L2). `bars` (null without
    prices) has columns of equal length: `end`, `open`, `high`, `low`, `close`, `volume`. Raises `NotFound`.
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
    """The idea without an outcome that is later than `as_of`."""
    if row["closed_at"] is None or row["closed_at"] <= as_of:
        return row
    return row | dict.fromkeys(("outcome", *EXIT_COLUMNS, "event_id", "published_at"))


def _similar(advice: AdviceStore, row: Row, where: str) -> list[Row]:
    nearest = advice.nearest(row["vector"], where, MAX_RELATED_IDEAS)
    return [{**{name: n[name] for name in CLIENT_COLUMNS}, "distance": float(n["_distance"]) ** 0.5} for n in nearest]


def _bars(bars: BarStore, row: Row, as_of: datetime) -> Row | None:
    try:
        frame = bars.get(row["ticker"], row["as_of"] - BARS_BEFORE, min(as_of, row["as_of"] + BARS_AFTER))
    except (NoPrices, BadInput):  # also for what is no symbol
        return None
    rebased_bars = rebase_to(frame, row["basis_at"] or row["as_of"])
    rebased_bars["end"] = [end.isoformat() for end in rebased_bars["end"]]
    return {name: rebased_bars[name].tolist() for name in BAR_COLUMNS} if len(rebased_bars) else None


def rebase_to(frame: pd.DataFrame, basis_at: datetime) -> pd.DataFrame:
    """Bars with prices and volumes in the basis of the last bar that ended by `moment`; without one, of the first."""
    rebased_bars = adjust_splits(frame)
    if len(rebased_bars):
        cumulative = cumulative_split(frame)
        reference = max(int((frame["end"] <= pd.Timestamp(basis_at)).sum()) - 1, 0)
        factor = cumulative[-1] / cumulative[reference]
        rebased_bars[[*PRICE_COLUMNS]] *= factor
        rebased_bars["volume"] = rebased_bars["volume"] / factor
    return rebased_bars


def _ids_sql(ids: Sequence[str]) -> str | None:
    """SQL for these ids; for many it is quicker to read all than to compare with each."""
    return sql_in("id", ids) if len(ids) <= 1_000 else None


def _reward_to_risk(levels: "pa.Table") -> "pa.ChunkedArray":
    import pyarrow.compute as pc

    reward, risk = (pc.abs(pc.subtract(levels[name], levels["entry"])) for name in ("target", "stop"))
    return pc.divide(reward, risk)

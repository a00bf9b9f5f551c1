"""Ideas as a reviewer asks for them: filtered, sorted and a page at a time, and what stands beside one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pandas as pd

from osiris.core.errors import BadInput, NoPrices
from osiris.core.ideas import ENDING, Outcome, Status
from osiris.core.schemas import advice_schema
from osiris.market.bar_frames import cumulative_split, rebased
from osiris.market.bar_store import BarStore
from osiris.market.calendars import PRICE_COLUMNS
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import one_of, quoted, sql_time

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
SHOWN = [name for name in advice_schema().names if name not in ("vector", "prompt", "reply")]
"""The columns that clients see."""
BESIDE = 8
"""Ideas of each kind that stand beside one."""
BARS_BEFORE, BARS_SINCE = timedelta(days=120), timedelta(days=120)
BAR_COLUMNS = ["end", *PRICE_COLUMNS, "volume"]


class Sort(StrEnum):
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
class Wanted:
    """Which ideas, in which order; every field narrows, an empty one does not."""

    status: Status | None = None
    outcome: Outcome | None = None
    ticker: str = ""
    since: datetime | None = None
    before: datetime | None = None
    ids: Sequence[str] = ()
    sort: Sort = Sort.AS_OF
    descending: bool = True

    @property
    def where(self) -> str | None:
        """The filter as SQL; `None` for all ideas."""
        clauses = [
            f"status = '{self.status}'" if self.status else "",
            f"outcome = '{self.outcome}'" if self.outcome else "",
            f"ticker = '{quoted(self.ticker)}'" if self.ticker else "",
            f"as_of >= {sql_time(self.since)}" if self.since else "",
            f"as_of < {sql_time(self.before)}" if self.before else "",
            one_of("id", self.ids) if self.ids else "",
        ]
        return " AND ".join(filter(None, clauses)) or None


@dataclass(frozen=True)
class Page:
    """Some of the ideas that were wanted, how many stand ahead of them, and how many there are."""

    ideas: list[Row]
    offset: int
    total: int


def listed(advice: AdviceStore, wanted: Wanted, offset: int, limit: int, after: Sequence[str] = ()) -> Page:
    """The `limit` ideas behind the first `offset` ones; ties by moment (newest first), then by id; nulls last.

    With `after`, ids of ideas that need not fit themselves, only what is behind all of them is counted: what was
    decided on meanwhile leaves no idea out, and what was drafted meanwhile repeats none. Ids of no idea are ignored.
    """
    ids, behind = _ordered(advice, wanted, wanted.where), offset
    if after:
        seen = set(after)
        order = _ordered(advice, wanted, f"({wanted.where or 'true'}) OR {one_of('id', after)}")
        past = set(order[: max((n + 1 for n, one in enumerate(order) if one in seen), default=0)])
        behind += sum(one in past for one in ids)
    chosen = ids[behind : behind + limit]
    found = {row["id"]: row for row in advice.rows(_among(chosen), SHOWN)} if chosen else {}
    return Page([found[i] for i in chosen if i in found], min(behind, len(ids)), len(ids))


def _ordered(advice: AdviceStore, wanted: Wanted, where: str | None) -> list[str]:
    levels = ("side", "entry", "target", "stop") if wanted.sort is Sort.REWARD_TO_RISK else (str(wanted.sort),)
    keys = advice.table(where, ["id", "as_of", *levels])
    if wanted.sort is Sort.REWARD_TO_RISK:
        keys = keys.append_column(str(Sort.REWARD_TO_RISK), _reward_to_risk(keys))
    direction = "descending" if wanted.descending else "ascending"
    order = [(str(wanted.sort), direction), *([] if wanted.sort is Sort.AS_OF else [("as_of", "descending")])]
    return keys.sort_by([*order, ("id", "ascending")])["id"].to_pylist()


def beside(advice: AdviceStore, bars: BarStore, idea: str, as_of: datetime) -> Row:
    """What a reviewer wants beside an idea at `as_of`: lists of ideas, and the price in the idea's basis.

    `siblings` came from the same prompt, `earlier` ones are the last on the ticker, `similar` ones the nearest by
    vector that were drafted before it and have a final outcome, with their `distance` (L2). `bars` (null without
    prices) has columns of equal length: `end`, `open`, `high`, `low`, `close`, `volume`. Raises `NotFound`.
    """
    row = advice.get(idea)
    before = f"as_of < {sql_time(row['as_of'])}"
    ended = f"outcome IN ('win', 'loss', 'breakeven') AND (closed_at IS NULL OR closed_at <= {sql_time(as_of)})"
    siblings = advice.rows(f"prompt_id = '{quoted(row['prompt_id'])}' AND id <> '{quoted(idea)}'", SHOWN)
    earlier = listed(advice, Wanted(ticker=row["ticker"], before=min(row["as_of"], as_of)), 0, BESIDE).ideas
    return {
        "siblings": [_as_known(other, as_of) for other in siblings],
        "earlier": [_as_known(other, as_of) for other in earlier],
        "similar": _similar(advice, row, f"{before} AND {ended}"),
        "bars": _bars(bars, row, as_of),
    }


def _as_known(row: Row, as_of: datetime) -> Row:
    """The idea without an outcome that is later than `as_of`."""
    if row["closed_at"] is None or row["closed_at"] <= as_of:
        return row
    return row | dict.fromkeys(("outcome", *ENDING, "event_id", "published_at"))


def _similar(advice: AdviceStore, row: Row, where: str) -> list[Row]:
    nearest = advice.nearest(row["vector"], where, BESIDE)
    return [{**{name: n[name] for name in SHOWN}, "distance": float(n["_distance"]) ** 0.5} for n in nearest]


def _bars(bars: BarStore, row: Row, as_of: datetime) -> Row | None:
    try:
        frame = bars.get(row["ticker"], row["as_of"] - BARS_BEFORE, min(as_of, row["as_of"] + BARS_SINCE))
    except (NoPrices, BadInput):  # also for what is no symbol
        return None
    shown = in_basis(frame, row["basis_at"] or row["as_of"])
    shown["end"] = [end.isoformat() for end in shown["end"]]
    return {name: shown[name].tolist() for name in BAR_COLUMNS} if len(shown) else None


def in_basis(frame: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """Bars with prices and volumes in the basis of the last bar that ended by `moment`; without one, of the first."""
    shown = rebased(frame)
    if len(shown):
        cumulative = cumulative_split(frame)
        then = max(int((frame["end"] <= pd.Timestamp(moment)).sum()) - 1, 0)
        factor = cumulative[-1] / cumulative[then]
        shown[[*PRICE_COLUMNS]] *= factor
        shown["volume"] = shown["volume"] / factor
    return shown


def _among(ids: Sequence[str]) -> str | None:
    """SQL for these ids; for many it is quicker to read all than to compare with each."""
    return one_of("id", ids) if len(ids) <= 1_000 else None


def _reward_to_risk(levels: "pa.Table") -> "pa.ChunkedArray":
    import pyarrow.compute as pc

    reward, risk = (pc.abs(pc.subtract(levels[name], levels["entry"])) for name in ("target", "stop"))
    return pc.divide(reward, risk)

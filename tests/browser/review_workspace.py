"""A workspace that looks like a desk after some weeks: real bars, ideas with histories, a clock that stands still."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from osiris.core.ideas import prompt_id, stable_hash
from osiris.market.calendars import closes_between
from osiris.market.sample import load_sample, sample_bars
from tests.builders import idea, make_workspace, outcome_table, with_changes

TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")
NOW = datetime(2006, 6, 14, 21, 30, tzinfo=UTC)
PENDING_HOURS = 30 * 24
CANDIDATES = 4
TOML = f"""
[clock]
as_of = "{NOW.isoformat()}"
[prices]
source = "local"
[review]
deadline_hours = {PENDING_HOURS}
"""
UNDECIDED = {"status": "pending", "status_at": None, "shadow": True} | dict.fromkeys(
    ("outcome", "exit_reason", "close_price", "closed_at", "r_multiple", "ambiguous")
)
RATIONALES = (
    "momentum is up over 20 days and the range has been calm since the last earnings",
    "the close stands far above its 50-day mean, volume fades, a pull-back is likelier than not",
    "three higher lows in a row; risk is small against the room to the last high",
    "breadth is weak and the trend of the last month points down",
)


def make_review_workspace(folder: Path, ideas: int, pending: int = 60, edits: int = 0, toml: str = ""):
    """A workspace with that many ideas on four tickers, the newest `pending` of them still to be decided on.

    The others are decided and, but for some, have an outcome made up at random: it is there to be looked at. The first
    `edits` of the edited ones went through the store's own door, with the levels they had before.
    """
    workspace = make_workspace(folder, TOML + toml, as_of=None)
    load_sample(workspace.bars, TICKERS)
    moments = list(closes_between("XNYS", NOW - timedelta(days=1200), NOW))[::-1]
    bars = {ticker: sample_bars(ticker) for ticker in TICKERS}
    rng, rows = random.Random(7), []
    for number in range(ideas):
        prompt, candidate = divmod(number, CANDIDATES)
        moment, ticker = moments[prompt // len(TICKERS) % len(moments)].to_pydatetime(), TICKERS[prompt % len(TICKERS)]
        rows.append(_idea(bars[ticker], ticker, moment, prompt, candidate, number < pending, rng))
    rows = [row for row in rows if row is not None]
    edited = [row for row in rows if row["status"] == "edited" and row["outcome"] in ("win", "loss")][:edits]
    workspace.advice.add([row | UNDECIDED if row in edited else row for row in rows])
    for row in edited:
        _edit(workspace.advice, row)
    return workspace


def _edit(advice, row):
    wider = row["stop"] - (0.5 if row["side"] == "long" else -0.5) * row["atr"]
    given = {"idempotency_key": row["id"], "transaction_id": row["id"], "feedback_type": "human_edit"}
    given |= {"feedback_content": "{}", "action": "edited", "reviewer": "ann", "ts": row["status_at"]}
    changed = {"status": "edited", "status_at": row["status_at"], "reviewer": "ann", "shadow": False, "stop": wider}
    advice.decide(given, with_changes(changed))
    ended = ("outcome", "exit_reason", "close_price", "closed_at", "r_multiple", "ambiguous", "shadow")
    advice.settle(outcome_table({"id": row["id"], **{name: row[name] for name in ended}}))


def _idea(bars, ticker, moment, prompt, candidate, is_pending, rng):
    seen = bars[bars["end"] <= moment].tail(20)
    if len(seen) < 20:
        return None
    price, side = float(seen["close"].iloc[-1]), rng.choice(("long", "short"))
    atr = float(np.mean(seen["high"] - seen["low"]))
    sign = 1 if side == "long" else -1
    row = idea(number=prompt * 100 + candidate, ticker=ticker, side=side, as_of=moment)
    row |= {
        "id": stable_hash("desk", prompt, candidate),
        "prompt_id": prompt_id(str(prompt), moment),
        "price": price,
        "atr": atr,
        "entry": price,
        "target": round(price + sign * atr * rng.choice((1.5, 2, 3)), 2),
        "stop": round(price - sign * atr * rng.choice((1, 1.5)), 2),
        "basis_at": seen["end"].iloc[-1].to_pydatetime(),
        "confidence": round(rng.uniform(0.4, 0.9), 2),
        "rationale": rng.choice(RATIONALES),
        "hermes_score": rng.randrange(2, 11) / 10,
        "adapter": rng.choice(("base", "20060512-dpo")),
        "vector": [rng.random() for _ in range(16)],
    }
    return row if is_pending else row | _random_outcome(row, sign, rng)


def _random_outcome(row, sign, rng):
    status = rng.choice(("approved", "rejected", "edited", "expired"))
    decided = {"status": status, "status_at": row["as_of"] + timedelta(hours=2), "shadow": status != "approved"}
    if rng.random() < 0.1:
        return decided | {"outcome": "open", "open_reason": "neither level reached"}
    won = rng.random() < (0.45 if status == "approved" else 0.35)
    price = row["target"] if won else row["stop"]
    return decided | {
        "outcome": "win" if won else "loss",
        "exit_reason": "target" if won else "stop",
        "close_price": price,
        "closed_at": row["as_of"] + timedelta(days=rng.randrange(1, 12)),
        "r_multiple": sign * (price - row["entry"]) / abs(row["entry"] - row["stop"]),
        "ambiguous": False,
    }

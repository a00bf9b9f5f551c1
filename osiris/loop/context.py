"""What the model sees of the market: a snapshot of features, from completed bars up to `as_of` alone."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from osiris.bar_frames import known_at, rebased
from osiris.errors import NoPrices
from osiris.llm.prompts import render
from osiris.policy import context as policy


@dataclass(frozen=True)
class Snapshot:
    """A ticker at a moment: last close and ATR, features, and the text of them.

    Prices are in currency, in the basis of the last bar, which ended at `basis_at`.
    """

    ticker: str
    as_of: datetime
    basis_at: datetime
    price: float
    atr: float
    features: tuple[policy.Feature, ...]
    text: str
    prompt: str

    @property
    def vector(self) -> np.ndarray:
        """The features as float32, shape (len(features),), each squashed to about -1..1 by tanh."""
        scale = {"rsi": 20.0}
        return np.tanh([f.value / scale.get(f.name, 2.0) for f in self.features]).astype(np.float32)


def snapshot(ticker: str, bars: pd.DataFrame, as_of: datetime) -> Snapshot:
    """Describe `ticker` at `as_of` from `bars` (see `store.bars`); raises `NoPrices` when they do not suffice."""
    seen = rebased(known_at(bars, as_of))
    high, low, close = (seen[column].to_numpy(np.float64) for column in ("high", "low", "close"))
    try:
        features = policy.features(high, low, close)
    except ValueError as error:
        raise NoPrices(
            f"at least {policy.WARM_UP} usable completed bars of {ticker} before {as_of.isoformat()}",
            str(error),
            f"import more with: osiris prices import FILE, or: osiris prices update {ticker}",
        ) from error
    text = render("snapshot", features=features).strip()
    return Snapshot(
        ticker=ticker,
        as_of=as_of,
        basis_at=seen["end"].iloc[-1].to_pydatetime(),
        price=float(close[-1]),
        atr=policy.atr(high, low, close),
        features=tuple(features),
        text=text,
        prompt=render("advise", ticker=ticker, snapshot=text),
    )

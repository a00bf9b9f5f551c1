"""What the model sees of a ticker at a moment: the features of the policy, and further blocks where they are wanted.

Only bars that were complete at the moment are read. `osiris/drafting/snapshots.py` takes snapshots for a workspace.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from osiris.core.arrays import FloatArray
from osiris.core.errors import NoPrices
from osiris.core.ideas import prompt_id
from osiris.llm.generate import DraftRequest
from osiris.llm.prompts import Prompts, render
from osiris.market.bar_frames import BarArrays, to_bar_arrays
from osiris.policy.contracts import WARM_UP_BARS, Feature, Policy

ATR_BARS = 14
"""Wilder's own number of bars."""


@dataclass(frozen=True)
class Snapshot:
    """A ticker at a moment: last close and ATR, the features, and the texts that show them to the model.

    Prices are in currency, in the basis of the last bar, which ended at `basis_at`. `text` is what the blocks say, and
    `prompt` the whole question with it. `features_text` is the block `features` alone. `blocks` are the names of the
    blocks that are shown. `prompt_version` names the templates and the settings that the prompt was made with.
    """

    ticker: str
    as_of: datetime
    basis_at: datetime
    price: float
    atr: float
    features: tuple[Feature, ...]
    text: str
    prompt: str
    features_text: str
    blocks: tuple[str, ...] = ("features",)
    prompt_version: str | None = None

    @property
    def request(self) -> DraftRequest:
        """The request for a drafter."""
        return DraftRequest(self.prompt, self.ticker, (self.price, self.atr))

    @property
    def prompt_id(self) -> str:
        """Id of this ticker at this moment, by its features.

        Notes and memories that come later change the prompt, but not the id: nothing is drafted twice. The text alone
        is no id: it is rounded, so two moments may share it.
        """
        return prompt_id(self.features_prompt, self.as_of)

    @property
    def features_prompt(self) -> str:
        """The shipped question with the features alone, from which the ids of the ideas are made."""
        return render("advise", ticker=self.ticker, snapshot=self.features_text)

    def with_blocks(self, blocks: Sequence[tuple[str, str]], prompts: Prompts) -> "Snapshot":
        """The snapshot that shows these blocks, by name and text, instead. Empty texts are left out.

        The block `examples` belongs to the prompt alone: the judge does not read it.
        """
        shown = [(name, text) for name, text in blocks if text]
        text = "\n".join(text for name, text in shown if name != "examples")
        examples = next((text for name, text in shown if name == "examples"), "")
        parts = (prompts.render("system"), examples, prompts.render("advise", ticker=self.ticker, snapshot=text))
        prompt = "\n".join(part.strip("\n") for part in parts if part.strip())
        return replace(self, text=text, prompt=prompt, blocks=tuple(name for name, _ in shown))

    @property
    def vector(self) -> np.ndarray:
        """The features as float32, shape (len(features),), each squashed to about -1..1 by tanh."""
        scale = {"rsi": 20.0}  # RSI runs from -50 to 50, the other features are a few ATR
        return np.tanh([f.value / scale.get(f.name, 2.0) for f in self.features]).astype(np.float32)


def true_range(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """True range of bars 1..n-1, shape (n-1,), in price units (Wilder 1978)."""
    previous = close[:-1]
    return np.maximum(high[1:], previous) - np.minimum(low[1:], previous)


def atr(high: FloatArray, low: FloatArray, close: FloatArray, bars: int = ATR_BARS) -> float:
    """Mean true range of the last `bars` bars, in price units. The levels of an idea are multiples of it."""
    return float(true_range(high, low, close)[-bars:].mean())


def take_snapshot(ticker: str, bars: pd.DataFrame | BarArrays, as_of: datetime, policy: Policy) -> Snapshot:
    """Describe `ticker` at `as_of` from `bars` (columns as in `market/bar_frames.py`) by the features of `policy`.

    Only bars that were complete at `as_of` are read, and only splits up to then adjust them. For many moments of the
    same bars, pass them as arrays: a frame takes five times as long. Raises `NoPrices` when there are not enough
    usable bars.
    """
    arrays = bars if isinstance(bars, BarArrays) else to_bar_arrays(bars)
    completed = arrays.complete_at(as_of).adjust_splits()
    high, low, close = completed.high, completed.low, completed.close
    atr_value = _usable_atr(high, low, close, ticker, as_of)
    features = policy.features(high.tolist(), low.tolist(), close.tolist(), atr_value)
    text = render("snapshot", features=features).strip()
    return Snapshot(
        ticker=ticker,
        as_of=as_of,
        basis_at=pd.Timestamp(completed.end[-1], tz="UTC").to_pydatetime(),
        price=float(close[-1]),
        atr=atr_value,
        features=tuple(features),
        text=text,
        prompt=render("advise", ticker=ticker, snapshot=text),
        features_text=text,
    )


def _usable_atr(high: FloatArray, low: FloatArray, close: FloatArray, ticker: str, as_of: datetime) -> float:
    """The ATR of bars that can be described.

    Raises `NoPrices` for fewer than `WARM_UP_BARS` bars, for NaN or infinite prices, for a last close that is not above
    zero, and for bars without any range.
    """
    if len(close) < WARM_UP_BARS:
        problem = f"{len(close)} bars"
    elif not (np.isfinite(high).all() and np.isfinite(low).all() and np.isfinite(close).all()):
        problem = "prices that are NaN or infinite"
    elif close[-1] <= 0:
        problem = f"a last close of {close[-1]:g}, which is no price of a share"
    elif not 0 < (atr_value := atr(high, low, close)) < np.inf:
        problem = f"bars with an ATR of {atr_value:g}"
    else:
        return atr_value
    raise NoPrices(
        f"at least {WARM_UP_BARS} usable completed bars of {ticker} before {as_of.isoformat()}",
        problem,
        f"import more with: osiris prices import FILE, or: osiris prices update {ticker}",
    )

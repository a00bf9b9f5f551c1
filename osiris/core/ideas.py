"""The records of Osiris: what an idea, a reply, a decision and an outcome are made of.

All times are aware UTC; prices are in the instrument's currency and in the price basis of `as_of` (raw prices, later
splits applied by recorded factors); R is profit divided by the initial risk |entry - stop|.
"""

import hashlib
import json
import math
import re
import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from osiris.core.errors import BadInput

SCHEMA_VERSION = "1.0"
MAX_PERSON_NAME_CHARACTERS = 80
INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of what is obeyed and not seen: controls, formats, lone surrogates, separators of lines."""
SYMBOL_PATTERN = re.compile(r"^([A-Z0-9^][A-Z0-9.\-=^&]{0,14}|[A-Z0-9]{1,6}[0-9]{6}[CP][0-9]{8})$")
"""What a file in the bar store can be named after: a share, index, currency or coin, or an option (OCC symbol)."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MAX_LEVEL_ATR = 20
"""The farthest level that a reply may name, in ATR from the entry."""


class Side(StrEnum):
    """Direction of a trade."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        """+1 for long, -1 for short."""
        return 1 if self is Side.LONG else -1


class Status(StrEnum):
    """Where an idea stands with the reviewers."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EDITED = "edited"
    EXPIRED = "expired"
    GATED = "gated"


ACCEPTED_STATUSES = (Status.APPROVED, Status.EDITED)


class Outcome(StrEnum):
    """What the market made of an idea; only `open` may still change."""

    OPEN = "open"
    WIN = "win"
    LOSS = "loss"
    BREAKEVEN = "breakeven"


FINAL_OUTCOMES = (Outcome.WIN, Outcome.LOSS, Outcome.BREAKEVEN)
EXIT_COLUMNS = ("exit_reason", "close_price", "closed_at", "r_multiple", "ambiguous")
"""What is known of an idea only once it has its outcome."""


class ExitReason(StrEnum):
    """Why a trade was closed."""

    TARGET = "target"
    STOP = "stop"
    EXPIRY = "expiry"
    MANUAL = "manual"


class Reply(BaseModel):
    """The JSON that the model writes: the reason before the side, distances in multiples of ATR."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ticker: str
    rationale: Annotated[str, Field(min_length=1, max_length=400)]
    side: Side
    target_atr: Annotated[float, Field(gt=0, le=MAX_LEVEL_ATR, allow_inf_nan=False)]
    stop_atr: Annotated[float, Field(gt=0, le=MAX_LEVEL_ATR, allow_inf_nan=False)]
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

    @field_validator("target_atr", "stop_atr", "confidence", mode="before")
    @classmethod
    def _numbers_only(cls, value: Any) -> Any:
        if isinstance(value, bool | str):
            raise ValueError("must be a JSON number")
        return value

    def to_json(self) -> str:
        """Return the reply as the one-line JSON the model is trained to write."""
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":"))


REPLY_KEYS = tuple(Reply.model_fields)


def parse_reply(text: str, ticker: str) -> Reply | None:
    """Read a generated reply; `None` unless it is one JSON object with exactly the reply's keys, in order."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
        if not isinstance(pairs, list) or tuple(key for key, _ in pairs) != REPLY_KEYS:
            return None
        reply = Reply(**dict(pairs))
    except (ValueError, TypeError, ValidationError, RecursionError):  # brackets nested by the thousand
        return None
    return reply if reply.ticker == ticker else None


class Levels(BaseModel):
    """Entry, target and stop of a trade; target and stop on the right sides of the entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    side: Side
    entry: Price
    target: Price
    stop: Price

    @model_validator(mode="after")
    def _right_sides(self) -> "Levels":
        sign = self.side.sign
        if not (sign * self.stop < sign * self.entry < sign * self.target):
            order = "stop < entry < target" if sign > 0 else "target < entry < stop"
            raise ValueError(f"a {self.side} idea needs {order}, got {self.stop} / {self.entry} / {self.target}")
        return self

    @property
    def risk(self) -> float:
        """Initial risk a share, |entry - stop|, in currency."""
        return abs(self.entry - self.stop)

    @property
    def reward_to_risk(self) -> float:
        """|target - entry| / |entry - stop|."""
        return abs(self.target - self.entry) / self.risk


def parse_ticker(text: str) -> str:
    """Return `text` as a ticker (upper case); raises `BadInput` for anything that is no symbol."""
    symbol = text.strip().upper()
    if not SYMBOL_PATTERN.match(symbol):
        raise BadInput(
            "a ticker such as AAPL or BRK-B",
            repr(text),
            "use 1-15 of A-Z 0-9 . - = ^ &, or an option's symbol such as AAPL240119C00190000",
        )
    return symbol


def parse_person_name(text: str) -> str:
    """Return `text` as a person's name: NFC, without space around it; raises `BadInput` for what no name is.

    Lineage and statistics go by the name, so two that look alike must be one; a terminal obeys control characters.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(name) <= MAX_PERSON_NAME_CHARACTERS or any(
        unicodedata.category(one) in INVISIBLE_CATEGORIES for one in name
    ):
        wanted = f"a name of 1 to {MAX_PERSON_NAME_CHARACTERS} characters, none of which is a control character"
        raise BadInput(wanted, ascii(text[: 2 * MAX_PERSON_NAME_CHARACTERS]), "write it in letters")
    return name


def stable_hash(*parts: object) -> str:
    """Return 32 hex digits that depend on the parts alone (sha256 of their JSON)."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def prompt_id(prompt: str, as_of: datetime) -> str:
    """Id shared by all candidates drawn from one prompt."""
    return stable_hash("prompt", prompt, as_of.isoformat())


def advice_id(prompt: str, adapter: str, sample: int, as_of: datetime) -> str:
    """Id of an idea: hash of prompt, adapter, sample number and as_of."""
    return stable_hash("advice", prompt, adapter, sample, as_of.isoformat())


def event_id(advice: str, outcome: str) -> str:
    """Id of an outcome event: full sha256 of `advice | outcome | 1`, so that consumers can drop repeats."""
    return hashlib.sha256(f"{advice}|{outcome}|1".encode()).hexdigest()


def round_price(price: float) -> float:
    """`price` (in currency) to six decimals; below 1, where those say too little, to ten significant digits."""
    return round(price, 9 - math.floor(math.log10(price)) if 0 < price < 1 else 6)


def levels_from_reply(reply: Reply, price: float, atr: float) -> Levels:
    """Turn ATR distances into prices round `price` (last close); raises `ValueError` for non-positive levels."""
    if not (math.isfinite(price) and math.isfinite(atr) and price > 0 and atr > 0):
        raise ValueError(f"price and ATR must be positive and finite, got {price} and {atr}")
    sign = reply.side.sign
    return Levels(
        side=reply.side,
        entry=round_price(price),
        target=round_price(price + sign * reply.target_atr * atr),
        stop=round_price(price - sign * reply.stop_atr * atr),
    )


def has_valid_levels(reply: Reply, price: float, atr: float) -> bool:
    """Whether the reply is a trade at this price: positive levels, target and stop apart from the entry."""
    try:
        levels_from_reply(reply, price, atr)
    except ValueError:
        return False
    return True


def to_trace(trade: dict[str, Any]) -> dict[str, Any]:
    """What a settled trade made: `{id, timestamp, pnl, patch_id}`, pnl = size * R as a fraction of equity."""
    pnl = trade["size"] * trade["r_multiple"]
    return {"id": trade["id"], "timestamp": trade["closed_at"], "pnl": pnl, "patch_id": trade.get("patch_id")}

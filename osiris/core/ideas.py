"""The records of Osiris: replies, levels, statuses and outcomes of ideas, and the hashes that identify them.

All times are aware UTC. Prices are in the instrument's currency and in the price basis of `as_of`: raw prices, to which
later splits are applied by recorded factors. R is the profit divided by the initial risk |entry - stop|.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from osiris.core.errors import BadInput

SCHEMA_VERSION: Final = "1.0"
MAX_PERSON_NAME_CHARACTERS = 80
INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories without a visible sign: controls, formats, lone surrogates, separators of lines and paragraphs."""
SYMBOL_PATTERN = re.compile(r"^([A-Z0-9^][A-Z0-9.\-=^&]{0,14}|[A-Z0-9]{1,6}[0-9]{6}[CP][0-9]{8})$")
"""A symbol that can name a file of the bar store: a share, index, currency, coin or option (OCC symbol)."""
Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MAX_LEVEL_ATR = 20
"""The largest distance of a level from the entry that a reply may name, in ATR."""


class Side(StrEnum):
    """Direction of a trade."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        """+1 for long, -1 for short."""
        return 1 if self is Side.LONG else -1


class Status(StrEnum):
    """The state of an idea in the review."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EDITED = "edited"
    EXPIRED = "expired"
    GATED = "gated"


ACCEPTED_STATUSES = (Status.APPROVED, Status.EDITED)


class Outcome(StrEnum):
    """The result of an idea in the market. Only `open` may still change."""

    OPEN = "open"
    WIN = "win"
    LOSS = "loss"
    BREAKEVEN = "breakeven"


FINAL_OUTCOMES = (Outcome.WIN, Outcome.LOSS, Outcome.BREAKEVEN)
EXIT_COLUMNS = ("exit_reason", "close_price", "closed_at", "r_multiple", "ambiguous")
"""Columns of an idea that are known only once it has its outcome."""


class ExitReason(StrEnum):
    """Why a trade was closed."""

    TARGET = "target"
    STOP = "stop"
    EXPIRY = "expiry"
    MANUAL = "manual"


class Reply(BaseModel):
    """The JSON that the model writes. The reason comes before the side; distances are multiples of ATR."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ticker: str
    rationale: Annotated[str, Field(min_length=1, max_length=400)]
    side: Side
    target_atr: Annotated[float, Field(gt=0, le=MAX_LEVEL_ATR, allow_inf_nan=False)]
    stop_atr: Annotated[float, Field(gt=0, le=MAX_LEVEL_ATR, allow_inf_nan=False)]
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

    @field_validator("target_atr", "stop_atr", "confidence", mode="before")
    @classmethod
    def _require_number(cls, value: Any) -> Any:
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
    """Entry, target and stop of a trade. Target and stop lie on the right sides of the entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    side: Side
    entry: Price
    target: Price
    stop: Price

    @model_validator(mode="after")
    def _check_sides(self) -> "Levels":
        sign = self.side.sign
        if not (sign * self.stop < sign * self.entry < sign * self.target):
            order = "stop < entry < target" if sign > 0 else "target < entry < stop"
            raise ValueError(f"a {self.side} idea needs {order}, got {self.stop} / {self.entry} / {self.target}")
        return self

    @property
    def risk(self) -> float:
        """Initial risk per share, |entry - stop|, in currency."""
        return abs(self.entry - self.stop)

    @property
    def reward_to_risk(self) -> float:
        """|target - entry| / |entry - stop|."""
        return abs(self.target - self.entry) / self.risk


def parse_ticker(text: str) -> str:
    """Return `text` as a ticker (upper case); raises `BadInput` for text that is no symbol."""
    symbol = text.strip().upper()
    if not SYMBOL_PATTERN.match(symbol):
        raise BadInput(
            "a ticker such as AAPL or BRK-B",
            repr(text),
            "use 1-15 of A-Z 0-9 . - = ^ &, or an option's symbol such as AAPL240119C00190000",
        )
    return symbol


def parse_person_name(text: str) -> str:
    """Return `text` as a person's name, in Unicode form NFC and without space around it.

    Lineage and statistics group by this name, so two spellings that look alike must be equal. Control characters are
    refused, because a terminal executes them. Raises `BadInput` for a name that is empty, too long or has such
    characters.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(name) <= MAX_PERSON_NAME_CHARACTERS or any(
        unicodedata.category(character) in INVISIBLE_CATEGORIES for character in name
    ):
        wanted = f"a name of 1 to {MAX_PERSON_NAME_CHARACTERS} characters, none of which is a control character"
        raise BadInput(wanted, ascii(text[: 2 * MAX_PERSON_NAME_CHARACTERS]), "write it in letters")
    return name


def stable_hash(*parts: object) -> str:
    """Return 32 hex digits that depend only on the parts (sha256 of their JSON)."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def prompt_id(prompt: str, as_of: datetime) -> str:
    """Return the id that all candidates of one prompt share."""
    return stable_hash("prompt", prompt, as_of.isoformat())


def advice_id(prompt: str, adapter: str, sample: int, as_of: datetime) -> str:
    """Return the id of an idea: a hash of prompt, adapter, sample number and `as_of`."""
    return stable_hash("advice", prompt, adapter, sample, as_of.isoformat())


def event_id(advice: str, outcome: str) -> str:
    """Return the id of an outcome event, by which consumers drop repeats: the full sha256 of `advice|outcome|1`."""
    return hashlib.sha256(f"{advice}|{outcome}|1".encode()).hexdigest()


def round_price(price: float) -> float:
    """Round `price` (in currency) to six decimals, or below 1 to ten significant digits, since six say too little."""
    return round(price, 9 - math.floor(math.log10(price)) if 0 < price < 1 else 6)


def levels_from_reply(reply: Reply, price: float, atr: float) -> Levels:
    """Turn ATR distances into prices around `price` (last close); raises `ValueError` for non-positive levels."""
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
    """Whether the reply makes a trade at this price: all levels are positive, target and stop differ from the entry."""
    try:
        levels_from_reply(reply, price, atr)
    except ValueError:
        return False
    return True


def to_trace(trade: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a settled trade: `{id, timestamp, pnl, patch_id}`; pnl = size * R, a fraction of equity."""
    pnl = trade["size"] * trade["r_multiple"]
    return {"id": trade["id"], "timestamp": trade["closed_at"], "pnl": pnl, "patch_id": trade.get("patch_id")}

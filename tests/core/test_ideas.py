"""Records: what a reply, a trade and a decision may be."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from osiris.core.commands import Feedback
from osiris.core.errors import BadInput
from osiris.core.ideas import (
    Levels,
    Reply,
    Status,
    advice_id,
    levels_from_reply,
    parse_reply,
    parse_ticker,
    round_price,
)

GOOD = (
    '{"ticker":"AAPL","rationale":"momentum up, follow","side":"long","target_atr":2.0,"stop_atr":1.0,"confidence":0.6}'
)
AT = datetime(2005, 2, 25, 21, tzinfo=UTC)


def test_a_reply_survives_being_written_and_read():
    assert parse_reply(GOOD, "AAPL").to_json() == GOOD


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "x",
        GOOD.replace("AAPL", "MSFT"),
        GOOD.replace("2.0", "NaN"),
        GOOD.replace("2.0", '"2.0"'),
        GOOD.replace("2.0", "true"),
        GOOD.replace("2.0", "-2.0"),
        GOOD.replace("0.6", "1.6"),
        GOOD.replace("long", "buy"),
        GOOD.replace('"side":"long",', ""),
        GOOD.replace('"side":"long",', '"side":"long","side":"short",'),
        GOOD.replace('"side":"long",', "").replace('"rationale"', '"side":"long","rationale"'),
        GOOD.replace("}", ',"size":3}'),
        "[]",
        "{}",
        "",
        "9" * 5000,
    ],
)  # fmt: skip
def test_anything_else_is_no_reply(text):
    assert parse_reply(text, "AAPL") is None


def test_levels_follow_the_side():
    long = levels_from_reply(parse_reply(GOOD, "AAPL"), 100.0, 2.0)
    assert (long.entry, long.target, long.stop, long.reward_to_risk) == (100.0, 104.0, 98.0, 2.0)
    short = levels_from_reply(Reply(**parse_reply(GOOD, "AAPL").model_dump() | {"side": "short"}), 100.0, 2.0)
    assert (short.target, short.stop) == (96.0, 102.0)


@pytest.mark.parametrize(
    "levels", [(100, 99, 98), (100, 106, 101), (100, 100, 98), (-1, 106, 97), (100, float("inf"), 97)]
)
def test_levels_on_the_wrong_side_are_no_trade(levels):
    with pytest.raises(ValidationError):
        Levels(side="long", entry=levels[0], target=levels[1], stop=levels[2])


@pytest.mark.parametrize(("atr", "price"), [(0.0, 100.0), (float("nan"), 100.0), (2.0, 0.0), (200.0, 100.0)])
def test_a_price_or_range_that_makes_no_levels_is_refused(atr, price):
    short = Reply(**parse_reply(GOOD, "AAPL").model_dump() | {"side": "short"})
    with pytest.raises(ValueError, match=r"positive|greater than 0"):
        levels_from_reply(short, price, atr)


@pytest.mark.parametrize("scale", [1e-9, 4.1e-7, 8.45e-6, 1.234e-5, 0.003, 0.5, 1.0, 87.5, 1e4, 1e7])
@pytest.mark.parametrize("side", ["long", "short"])
def test_levels_keep_their_digits_whatever_a_share_or_coin_costs(scale, side):
    reply = Reply(**parse_reply(GOOD, "AAPL").model_dump() | {"side": side})
    levels, sign = levels_from_reply(reply, scale, scale / 50), 1 if side == "long" else -1
    assert levels.entry == pytest.approx(scale, rel=1e-6)
    assert levels.target == pytest.approx(scale * (1 + sign * reply.target_atr / 50), rel=1e-6)
    assert levels.stop == pytest.approx(scale * (1 - sign * reply.stop_atr / 50), rel=1e-6)


def test_a_price_is_rounded_to_what_it_says():
    assert [round_price(p) for p in (100.12345678, 0.1 + 0.2, 4.5e-7 * 1.1)] == [100.123457, 0.3, 4.95e-7]


@pytest.mark.parametrize("symbol", ["M&M.NS", "L&TFH.NS", "J&KBANK.NS", "AAPL240119C00190000", "SPXW251219P05000000"])
def test_indian_shares_and_options_are_tickers_and_name_a_file(symbol, tmp_path):
    assert parse_ticker(symbol.lower()) == symbol
    (tmp_path / f"{symbol}.parquet").touch()


def feedback(kind, **content):
    return Feedback(
        transaction_id="a", feedback_type=kind, feedback_content=content, timestamp=AT, schema_version="1.0"
    )


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("approval", {}, Status.APPROVED),
        ("rejection", {}, Status.REJECTED),
        ("human_edit", {"target": 106.0}, Status.EDITED),
        ("human_edit", {"action": "approve", "confidence": 0.9}, Status.APPROVED),
        ("human_edit", {"action": "reject"}, Status.REJECTED),
    ],
)
def test_feedback_asks_for_a_status(kind, content, status):
    assert feedback(kind, **content).action is status


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("human_edit", {"target": "106"}),
        ("human_edit", {"target": True}),
        ("approval", {"target": 1.0}),
        ("rejection", {"action": "approve"}),
        ("human_edit", {}),
        ("approval", {"x": 1}),
    ],
)
def test_contradictory_feedback_is_refused(kind, content):
    with pytest.raises(ValidationError):
        feedback(kind, **content)


def test_ids_depend_on_all_parts_alone():
    ids = {advice_id(p, a, s, AT) for p in ("p", "q") for a in ("base", "b") for s in (0, 1)}
    assert len(ids) == 8
    assert advice_id("p", "base", 0, AT) in ids


@pytest.mark.parametrize("text", ["", "A B", "../x", "AAPL;DROP", "A" * 20])
def test_what_is_no_symbol_is_refused(text):
    with pytest.raises(BadInput):
        parse_ticker(text)
    assert parse_ticker(" brk-b ") == "BRK-B"

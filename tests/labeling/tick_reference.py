"""What first touch means, tick by tick: slow, plain, and written apart from the kernel.

A bar tells where the price began, ended and reached, not in which order. The reference follows every order: a path
begins at the open, visits high, low and (before the trade is filled) the entry in any order with at least the first
two, ends at the close, and trades at every price between. Between bars nothing trades. In the bar in which the idea
expires a path may be cut anywhere. What holds on all paths is sure; where paths differ, the answer is the worst of
them and marked ambiguous.
"""

from itertools import product
from typing import NamedTuple

FILLED_PATHS = ("HL", "LH")
UNFILLED_PATHS = tuple("".join(p) for size in (2, 3, 4) for p in product("HLE", repeat=size) if {"H", "L"} <= set(p))
UNFILLED, FILLED = "unfilled", "filled"
WIN, LOSS, CLOSED, OPEN, NO_TRADE = "win", "loss", "closed", "open", "no trade"


class Bar(NamedTuple):
    """One bar in the price basis of the idea."""

    start: int
    end: int
    open: float
    high: float
    low: float
    close: float


class Idea(NamedTuple):
    """A long (sign 1) or short (-1) that came into force at `since` and ends at `expiry` (`None`: never)."""

    sign: int
    entry: float
    target: float
    stop: float
    since: int
    expiry: int | None


class Ending(NamedTuple):
    """How it ended on one path: at which price of which bar, and whether at the bar's open."""

    what: str
    price: float | None
    bar: int | None
    at_open: bool


def possible_endings(bars: list[Bar], idea: Idea) -> set[Ending]:
    """Every way in which the idea can have ended."""
    ends: set[Ending] = set()
    states = {UNFILLED}
    for number, bar in enumerate(bars):
        if bar.start < idea.since:
            continue
        if idea.expiry is not None and idea.expiry <= bar.start:
            ends |= {Ending(CLOSED, bar.open, number, True) if s == FILLED else _no_trade(number) for s in states}
            return ends
        following: set[str] = set()
        if idea.expiry is not None and bar.start < idea.expiry < bar.end:
            return ends | {end for state in states for end in _cut(bar, state, idea, number)}
        for state in states:
            for path in _paths(bar, state, idea):
                found = _walk(bar, path, state, idea, number)
                if isinstance(found, Ending):
                    ends.add(found)
                else:
                    following.add(found)
        states = following
        if idea.expiry is not None and idea.expiry <= bar.end:
            return ends | {
                Ending(CLOSED, bar.close, number, False) if s == FILLED else _no_trade(number) for s in states
            }
    return ends | {Ending(OPEN, None, None, s == FILLED) for s in states}


def worst_ending(bars: list[Bar], idea: Idea) -> tuple[Ending, bool]:
    """The end to report, and whether there were others: a loss as soon as it may have come, a win only when it must."""
    ends = possible_endings(bars, idea)
    order = (LOSS, NO_TRADE, OPEN, CLOSED, WIN)
    return min(ends, key=lambda end: (order.index(end.what), (end.bar or 0) * (1 if end.what == LOSS else -1))), len(
        ends
    ) > 1


def _no_trade(number: int) -> Ending:
    return Ending(NO_TRADE, None, number, False)


def _cut(bar: Bar, state: str, idea: Idea, number: int) -> set[Ending]:
    """The ends in a bar in which the idea expires, on some path, at some moment: it closes at the bar's close then."""
    found = {_walk(bar, path, state, idea, number) for path in _paths(bar, state, idea)}
    ends = {end for end in found if isinstance(end, Ending)}
    if any(end.at_open for end in ends):
        return ends
    if state == UNFILLED and bar.open != idea.entry:
        ends.add(_no_trade(number))
    if state == FILLED or bar.low <= idea.entry <= bar.high:
        ends.add(Ending(CLOSED, bar.close, number, False))
    return ends


def _paths(bar: Bar, state: str, idea: Idea) -> tuple[str, ...]:
    if state == UNFILLED and bar.low <= idea.entry <= bar.high:
        return UNFILLED_PATHS
    return FILLED_PATHS


def _walk(bar: Bar, path: str, state: str, idea: Idea, number: int) -> Ending | str:
    """Follow one path through a bar; the end, or the state behind the bar."""
    at = bar.open
    if state == FILLED and (gap := _beyond(at, idea)):
        return Ending(gap, at, number, True)
    if state == UNFILLED and at == idea.entry:
        state = FILLED
    prices = {"H": bar.high, "L": bar.low, "E": idea.entry}
    for to in (*(prices[step] for step in path), bar.close):
        if state == UNFILLED and min(at, to) <= idea.entry <= max(at, to):
            state, at = FILLED, idea.entry
        if state == FILLED:
            for level, what in ((idea.stop, LOSS), (idea.target, WIN)):
                if min(at, to) <= level <= max(at, to):
                    return Ending(what, level, number, False)
        at = to
    return state


def _beyond(price: float, idea: Idea) -> str | None:
    if idea.sign * price <= idea.sign * idea.stop:
        return LOSS
    return WIN if idea.sign * price >= idea.sign * idea.target else None

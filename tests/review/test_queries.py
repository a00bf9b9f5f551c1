"""Ideas as a reviewer asks for them: every order is total, nulls come last, pages neither repeat nor leave out."""

from datetime import timedelta

import pandas as pd
import pytest

from osiris.core.ideas import Status
from osiris.review.queries import IdeaQuery, SortKey, list_ideas, rebase_to
from tests.builders import MOMENT, idea, make_store, outcome_table


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("listing"))
    rows = [
        idea(
            number=n,
            as_of=MOMENT - timedelta(hours=n // 3),
            ticker="ABC"[n % 3],
            side="short" if n % 2 else "long",
            hermes_score=None if n % 5 == 0 else n % 4 / 10,
            confidence=0.5 + n % 3 / 10,
            adapter=f"2005022{n % 2}",
        )
        for n in range(20)
    ]
    for n, row in enumerate(rows):
        row["target"] = row["entry"] + (1 if row["side"] == "long" else -1) * (3 + n % 4)
    store.add(rows)
    store.settle(
        outcome_table(*({"id": row["id"], "outcome": "win", "r_multiple": float(n)} for n, row in enumerate(rows[:4])))
    )
    return store


def value(row, sort):
    if sort is SortKey.REWARD_TO_RISK:
        return abs(row["target"] - row["entry"]) / abs(row["entry"] - row["stop"])
    return row[str(sort)]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", SortKey)
def test_pages_in_any_order_are_the_whole_in_that_order(store, sort, descending):
    wanted = IdeaQuery(sort=sort, descending=descending)
    pages = [list_ideas(store, wanted, offset, 6) for offset in range(0, 24, 6)]
    assert [page.total for page in pages] == [20] * 4
    rows = [row for page in pages for row in page.ideas]
    assert len({row["id"] for row in rows}) == 20
    values = [value(row, sort) for row in rows]
    there = [one for one in values if one is not None]
    assert values == sorted(there, reverse=descending) + [None] * (20 - len(there))
    ties = pd.DataFrame([(str(value(row, sort)), -row["as_of"].timestamp(), row["id"]) for row in rows])
    for _, group in ties.groupby(0):
        assert group.to_numpy().tolist() == sorted(group.to_numpy().tolist()) or sort is SortKey.AS_OF


@pytest.mark.parametrize("sort", SortKey)
def test_pages_that_begin_behind_the_page_before_are_the_whole_too(store, sort):
    wanted, after, rows = IdeaQuery(sort=sort), [], []
    while page := list_ideas(store, wanted, 0, 6, after).ideas:
        rows, after = [*rows, *page], [row["id"] for row in page]
    assert [row["id"] for row in rows] == [row["id"] for row in list_ideas(store, wanted, 0, 100).ideas]


def test_a_page_begins_behind_ideas_that_fit_no_longer(store):
    a, b = (IdeaQuery(ticker=ticker) for ticker in "AB")
    first = list_ideas(store, a, 0, 1).ideas[0]
    page = list_ideas(store, b, 0, 100, [first["id"], "nobody"])
    assert (page.offset, page.total) == (page.total - len(page.ideas), 7)
    assert [row["id"] for row in page.ideas] == [r["id"] for r in list_ideas(store, b, 0, 100).ideas if ahead(first, r)]
    assert (list_ideas(store, b, 0, 100, ["nobody"]).offset, list_ideas(store, b, 99, 100).offset) == (0, 7)


def ahead(one, other):
    return (-one["as_of"].timestamp(), one["id"]) < (-other["as_of"].timestamp(), other["id"])


def test_filters_narrow_together(store):
    found = list_ideas(store, IdeaQuery(status=Status.PENDING, ticker="A", since=MOMENT - timedelta(hours=2)), 0, 100)
    assert found.total == len(found.ideas) == 3
    assert {(row["ticker"], row["status"]) for row in found.ideas} == {("A", "pending")}


def test_many_ids_are_found_too(store):
    ids = [row["id"] for row in store.rows()] + [f"nobody-{n}" for n in range(1_500)]
    assert list_ideas(store, IdeaQuery(ids=ids), 0, 2_000).total == 20


def test_bars_are_told_in_the_basis_of_a_moment():
    ends = pd.date_range("2005-02-24T21:00Z", periods=4)
    bars = pd.DataFrame({"start": ends, "end": ends, "split": [1.0, 1.0, 2.0, 1.0]})
    for name, values in {"open": [80, 80, 40, 40], "close": [80.0, 88, 44, 45], "volume": [10.0, 10, 20, 20]}.items():
        bars[name] = values
    bars["high"] = bars["low"] = bars["close"]
    before, after = (rebase_to(bars, ends[n]) for n in (1, 3))
    assert before["close"].tolist() == [80, 88, 88, 90]
    assert before["volume"].tolist() == [10, 10, 10, 10]
    assert after["close"].tolist() == [40, 44, 44, 45]
    assert rebase_to(bars, ends[0] - timedelta(days=9))["close"].tolist() == [80, 88, 88, 90]

"""Lineage: what an adapter was trained on, and whom an idea, a bar or a reviewer has touched; nothing is guessed."""

import json
import shutil
from datetime import timedelta

import pytest

from osiris.adapters.registry import AdapterRegistry
from osiris.core.errors import BadInput, NotFound
from osiris.market.bar_store import BarStore
from osiris.market.sample import load_sample
from osiris.training.datasets import AcceptedReply, write_dataset
from osiris.training.lineage import Lineage, explain_pair, list_datasets
from osiris.training.pairs import Pair
from tests.builders import (
    MOMENT,
    adapter_card,
    decision,
    decision_changes,
    idea,
    make_settings,
    make_store,
    trained_adapter,
    with_changes,
)

FIRST, SECOND, THIRD = "20050301", "20050301-dpo", "20050302-dpo"


@pytest.fixture
def rows():
    """Two of one prompt on AAPL that made a pair, one on IBM that ann approved, one that bob edited, one of no use."""
    closed = {"closed_at": MOMENT + timedelta(days=3), "outcome": "win", "exit_reason": "target", "r_multiple": 2.0}
    return {
        "good": idea(number=1, **closed),
        "bad": idea(number=2, side="short", **closed | {"outcome": "loss", "exit_reason": "stop", "r_multiple": -1.0}),
        "ann's": idea(number=3, ticker="IBM", status="approved", reviewer="ann", **closed),
        "bob's": idea(number=4, ticker="MSFT", status="edited", reviewer="bob", **closed),
        "unused": idea(number=5, ticker="GOOG"),
    }


@pytest.fixture
def lineage(tmp_path, rows):
    """20050301 (feedback) -> 20050301-dpo (pairs) -> 20050302-dpo (pairs)."""
    store, settings = make_store(tmp_path), make_settings(tmp_path)
    store.add(list(rows.values()))
    shelf = AdapterRegistry(settings.adapters, lambda: "b" * 64)
    folder = settings.data / "datasets"
    ids = {name: row["id"] for name, row in rows.items()}
    pair = Pair("p", "g", "b", "outcome", ids["good"], ids["bad"])
    other = Pair("q", "g", "b", "outcome", ids["bob's"], ids["bad"])
    made = [
        (FIRST, None, folder / "feedback-20050301.jsonl", [AcceptedReply("p", "r", ids["ann's"])], "feedback"),
        (SECOND, FIRST, folder / "pairs-20050301.jsonl", [pair], "like"),
        (THIRD, SECOND, folder / "pairs-20050302.jsonl", [pair, other], "like"),
    ]
    for number, (name, parent, path, lessons, data) in enumerate(made):
        about = write_dataset(path, lessons, MOMENT, data)
        card = adapter_card(parent=parent or "base", data_hash=about["sha256"])
        shelf.publish(name, trained_adapter(tmp_path / name, 0.1 + number), card)
    return Lineage(shelf, store, settings)


def touched(lineage, what):
    return {row["adapter"]: (row["lines"], row["through"]) for row in lineage.find_affected(what)}


def test_an_adapter_tells_what_it_and_its_ancestors_were_trained_on(lineage):
    third, second, first = lineage.trace_adapter(THIRD)
    assert (third["adapter"], third["parent"], third["lines"], third["ideas"]) == (THIRD, SECOND, 2, 3)
    assert (second["by_source"], first["by_source"]) == ("outcome 1", "feedback 1")
    assert (first["reviewers"], first["tickers"], first["days"]) == ("ann", 1, "2005-02-25 to 2005-02-25")


def test_an_idea_touches_what_learned_from_it_and_what_came_of_that(lineage, rows):
    assert touched(lineage, rows["ann's"]["id"]) == {THIRD: (0, FIRST), SECOND: (0, FIRST), FIRST: (1, "")}
    assert touched(lineage, rows["good"]["id"]) == {THIRD: (1, SECOND), SECOND: (1, "")}
    assert touched(lineage, rows["unused"]["id"]) == {}


@pytest.mark.parametrize(
    ("day", "there"),
    [
        ("2005-02-28", True),  # while the trade ran
        ("2005-02-01", True),  # in the prompt
        ("2005-03-01", False),  # after its end
        ("2004-11-01", False),  # before the prompt's first bar
    ],
)
def test_a_bar_touches_through_prompts_and_outcomes(lineage, day, there):
    assert (THIRD in touched(lineage, f"MSFT:{day}")) is there


def test_a_reviewer_touches_through_feedback_and_edits(lineage):
    assert touched(lineage, "reviewer:ann") == {THIRD: (0, FIRST), SECOND: (0, FIRST), FIRST: (1, "")}
    assert touched(lineage, "reviewer:bob") == {THIRD: (1, "")}
    assert touched(lineage, "reviewer:eve") == {}


def test_what_is_unknown_is_refused(lineage):
    with pytest.raises(NotFound):
        lineage.find_affected("nobody")
    with pytest.raises(NotFound):
        lineage.trace_adapter("20990101")
    with pytest.raises(BadInput, match="TICKER:YYYY-MM-DD"):
        lineage.find_affected("AAPL:yesterday")


def test_a_dataset_that_changed_or_is_gone_is_no_lineage(lineage, rows):
    folder = lineage.settings.data / "datasets"
    write_dataset(folder / "pairs-20050302.jsonl", [Pair("x", "g", "b", "outcome", "1", "2")], MOMENT, "like")
    with pytest.raises(BadInput, match="the dataset of 20050302-dpo"):
        lineage.trace_adapter(THIRD)
    (folder / "pairs-20050302.json").unlink()
    with pytest.raises(NotFound, match="what 20050302-dpo was trained on"):
        lineage.find_affected(rows["good"]["id"])


def test_a_pair_is_explained_by_its_ideas_and_their_bars(lineage, tmp_path):
    bars, folder = BarStore(tmp_path / "bars"), lineage.settings.data / "datasets"
    load_sample(bars, ["AAPL"])
    assert [row["night"] for row in list_datasets(folder)] == ["20050302", "20050301"]
    found = explain_pair(lineage.advice, bars, folder, "20050302", 1)
    assert (found["source"], found["ideas"]["good"]["outcome"], found["ideas"]["bad"]["outcome"]) == (
        "outcome",
        "win",
        "loss",
    )
    assert [bar["end"][:10] for bar in found["bars"]["good"]] == ["2005-02-25", "2005-02-28"]
    for night, line, named in (("20050302", 3, "from 1 to 2"), ("20050303", 1, "20050302, 20050301")):
        with pytest.raises(NotFound, match=named):
            explain_pair(lineage.advice, bars, folder, night, line)


def overwritten(folder):
    (folder / "pairs-20050302.jsonl").write_text('{"prompt": "x"}\n{"prompt": "y"}\n')


def cut(folder):
    path = folder / "pairs-20050302.jsonl"
    path.write_text(path.read_text().splitlines(keepends=True)[0])


def deleted(folder):
    (folder / "pairs-20050302.jsonl").unlink()


def cut_json(folder):
    path = folder / "pairs-20050302.json"
    path.write_text(path.read_text()[:100])


def shorter_lineage(folder):
    path = folder / "pairs-20050302.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"lineage": about["lineage"][:1]}))


def other_shape(folder):
    (folder / "pairs-20050302.json").write_text("[]")


@pytest.mark.parametrize("damage", [overwritten, cut, deleted, cut_json, shorter_lineage, other_shape])
def test_whatever_happened_to_a_dataset_is_named_by_whoever_reads_it(lineage, rows, damage):
    folder = lineage.settings.data / "datasets"
    damage(folder)
    for ask in (
        lambda: lineage.trace_adapter(THIRD),
        lambda: lineage.find_affected(rows["good"]["id"]),
        lambda: lineage.find_affected("reviewer:ann"),
        lambda: list_datasets(folder),
        lambda: explain_pair(lineage.advice, None, folder, "20050302", 1),
    ):
        with pytest.raises(BadInput, match=r"pairs-20050302\.json"):
            ask()


def test_an_ancestor_that_is_gone_is_named(lineage):
    shutil.rmtree(lineage.registry.folder / SECOND)
    for ask in (lambda: lineage.trace_adapter(THIRD), lambda: lineage.find_affected("reviewer:ann")):
        with pytest.raises(NotFound, match="20050301-dpo, from which 20050302-dpo was trained"):
            ask()


@pytest.mark.parametrize(
    "what",
    ["AAPL:now", "AAPL:NaT", "AAPL:today", "AAPL:", "AAPL:20050228", "AAPL:2005-2-8", "AAPL:2005-02-30", "AAPL:1.5",
     "AAPL:9999-01-01", "AAPL:2005-02-28T10:00", ":2005-02-28", "reviewer:", "reviewer: ", "", "a:b:2005-02-28"],
)  # fmt: skip
def test_what_names_nothing_is_refused(lineage, what):
    with pytest.raises((BadInput, NotFound)):
        lineage.find_affected(what)


def test_the_rejected_side_of_an_edit_has_the_levels_that_were_drafted(tmp_path):
    store, folder, row = make_store(tmp_path), tmp_path / "datasets", idea(number=7)
    store.add([row])
    store.decide(decision(row, action="edited"), with_changes(decision_changes("edited", target=103.0, stop=98.0)))
    write_dataset(folder / "pairs-20050301.jsonl", [Pair("p", "g", "b", "edit", row["id"], row["id"])], MOMENT, "like")
    ideas = explain_pair(store, BarStore(tmp_path / "bars"), folder, "20050301", 1)["ideas"]
    levels = {role: (one["entry"], one["target"], one["stop"]) for role, one in ideas.items()}
    assert levels == {"good": (100.0, 103.0, 98.0), "bad": (100.0, 106.0, 97.0)}

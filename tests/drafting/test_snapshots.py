"""The prompts of a workspace: which blocks they show, from which moment on, and how long they may be."""

from datetime import UTC, datetime, timedelta

import pytest

from osiris.core.errors import BadInput, NotFound, SettingsError
from osiris.core.run_log import collect_warnings
from osiris.drafting.snapshots import take_snapshots
from osiris.market.sample import load_sample
from osiris.storage.notes import parse_note
from tests.builders import idea, make_workspace

CLOSE = datetime(2005, 2, 24, 21, tzinfo=UTC)
EARLIER = CLOSE - timedelta(days=30)
BENCHMARK = '\nbenchmark = "IBM"'


@pytest.fixture
def opened(tmp_path):
    """Open a workspace with sample bars and a table [context]."""
    workspaces = []

    def open_with(context="", model="", name="ws"):
        toml = f'[prices]\nsource = "local"\n[advise]\ntickers = ["AAPL"]\n[context]\n{context}\n[model]\n{model}\n'
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        workspace = make_workspace(folder, toml, CLOSE)
        load_sample(workspace.bars, ["AAPL", "IBM"])
        workspaces.append(workspace)
        return workspace

    yield open_with
    for workspace in workspaces:
        workspace.close()


def shot(workspace, moment=CLOSE):
    return take_snapshots(workspace.snapshots, workspace.policy, ["AAPL"], [moment])[0]


def blocks(*names):
    return f"blocks = {list(names)!r}".replace("'", '"')


def test_a_starter_sees_the_features_alone(opened):
    found = shot(opened())
    assert found.blocks == ("features",)
    assert found.text == found.features_text
    assert len(found.prompt.splitlines()) == 5


def test_blocks_stand_in_their_order_and_the_judge_reads_them_too(opened):
    found = shot(opened(blocks("features", "calendar", "trend")))
    assert found.blocks == ("features", "calendar", "trend")
    assert found.prompt.index("momentum") < found.prompt.index("next session") < found.prompt.index("trend_5")
    assert found.text in found.prompt
    assert "trend_5" in found.text


def test_an_earlier_moment_is_shown_nothing_of_the_later_ones_it_is_taken_with(opened):
    workspace = opened(blocks("features", "trend", "volatility", "levels", "gaps", "strength", "bars") + BENCHMARK)
    together = take_snapshots(workspace.snapshots, workspace.policy, ["AAPL"], [EARLIER, CLOSE])
    assert [one.prompt for one in together] == [shot(workspace, moment).prompt for moment in (EARLIER, CLOSE)]


def test_a_benchmark_without_prices_is_said_and_its_block_left_out(opened):
    workspace = opened(blocks("features", "strength") + '\nbenchmark = "SPY"')
    with collect_warnings() as warnings:
        assert shot(workspace).blocks == ("features",)
    assert any("SPY" in warning for warning in warnings)


def test_the_ids_of_ideas_do_not_depend_on_blocks(opened):
    plain, told = shot(opened()), shot(opened(blocks("features", "trend"), name="told"))
    assert plain.prompt != told.prompt
    assert plain.prompt_id == told.prompt_id


class TestABudget:
    def test_the_last_blocks_go_first_and_it_is_said(self, opened):
        workspace = opened(blocks("features", "trend", "bars") + "\nmax_tokens = 140")
        with collect_warnings() as warnings:
            found = shot(workspace)
        assert found.blocks == ("features", "trend")
        assert warnings == ["the block bars did not fit into 1 of 1 prompts"]

    def test_the_features_always_stay(self, opened):
        assert shot(opened(blocks("features", "trend") + "\nmax_tokens = 64")).blocks == ("features",)


class TestNotes:
    @pytest.fixture
    def workspace(self, opened):
        workspace = opened(blocks("features", "notes") + "\nmax_notes = 2\nnote_characters = 20")
        workspace.notes.add(
            [
                parse_note({"at": at.isoformat(), "ticker": ticker, "kind": "news", "text": text, **more})
                for at, ticker, text, more in [
                    (CLOSE - timedelta(hours=3), "AAPL", "a split is announced by the board", {}),
                    (CLOSE, "*", "rates", {"due": (CLOSE + timedelta(days=3)).isoformat()}),
                    (CLOSE + timedelta(seconds=1), "AAPL", "from the future", {}),
                    (CLOSE - timedelta(days=2), "AAPL", "the third", {}),
                    (CLOSE - timedelta(days=1), "IBM", "of another", {}),
                ]
            ]
        )
        return workspace

    def test_the_newest_that_were_known_are_shown_with_their_age(self, workspace):
        assert shot(workspace).text.splitlines()[3:] == [
            "notes:",
            "0 h ago, news: rates (in 3 days)",
            "3 h ago, news: a split is announce…",
        ]

    def test_earlier_moments_know_earlier_notes(self, workspace):
        assert "the third" in shot(workspace, CLOSE - timedelta(days=1)).text
        assert "notes" not in shot(workspace, CLOSE - timedelta(days=3)).blocks


class TestMemory:
    @pytest.fixture
    def workspace(self, opened):
        return opened(blocks("features", "memory", "examples") + "\nsituations = 2")

    def stored(self, workspace, **changes):
        vector = [float(one) for one in shot(workspace).vector] + [0.0] * 13
        ended = {"outcome": "win", "r_multiple": 1.5, "closed_at": EARLIER + timedelta(days=5), "ambiguous": False}
        decided = {"status": "approved", "status_at": EARLIER, "as_of": EARLIER, "rationale": "last up, follow"}
        return idea(**({"vector": vector} | ended | decided | changes))

    def test_a_situation_is_told_with_its_ideas_decisions_and_ends(self, workspace):
        long = self.stored(workspace)
        short = self.stored(
            workspace, number=1, side="short", status="rejected", outcome="loss", r_multiple=-1.0, rationale="rsi"
        ) | {"prompt_id": long["prompt_id"]}
        workspace.advice.add([long, short])
        assert shot(workspace).text.splitlines()[3:] == [
            "earlier situations like this one:",
            "AAPL, 30 days before: long (last up, follow) approved, win +1.5 R; short (rsi) rejected, loss -1.0 R",
        ]

    def test_an_end_that_was_not_known_yet_is_not_told(self, workspace):
        workspace.advice.add([self.stored(workspace, closed_at=CLOSE + timedelta(seconds=1))])
        assert shot(workspace).blocks == ("features",)
        assert "memory" in shot(workspace, CLOSE + timedelta(days=1)).blocks

    def test_an_end_that_was_known_a_day_later_is_told_a_day_later_alone(self, workspace):
        workspace.advice.add([self.stored(workspace, closed_at=CLOSE + timedelta(seconds=1))])
        moments = [CLOSE, CLOSE + timedelta(days=1)]
        first, second = take_snapshots(workspace.snapshots, workspace.policy, ["AAPL"], moments)
        assert ("memory" in first.blocks, "memory" in second.blocks) == (False, True)

    def test_a_decision_that_was_not_made_yet_is_not_told(self, workspace):
        workspace.advice.add([self.stored(workspace, status_at=CLOSE + timedelta(days=1), status="rejected")])
        assert "(last up, follow), win" in shot(workspace).text

    def test_the_nearest_situations_come_first_and_no_more_than_wanted(self, workspace):
        exact = self.stored(workspace)["vector"]
        far, near = [one + 0.9 for one in exact], [one + 0.1 for one in exact]
        rows = [
            self.stored(workspace, number=number, vector=vector, rationale=name)
            for number, (name, vector) in enumerate([("far", far), ("exact", exact), ("near", near)])
        ]
        workspace.advice.add(rows)
        told = shot(workspace).text
        assert told.index("exact") < told.index("near")
        assert "far" not in told

    def test_examples_are_accepted_winners_half_of_each_side(self, workspace):
        rows = [
            self.stored(workspace, number=number, side=side, status=status, outcome=outcome, reply=f"reply {number}")
            for number, (side, status, outcome) in enumerate(
                [
                    ("long", "approved", "win"),
                    ("long", "edited", "win"),
                    ("short", "approved", "win"),
                    ("short", "rejected", "win"),
                    ("short", "approved", "loss"),
                ]
            )
        ]
        workspace.advice.add(rows)
        found = shot(workspace)
        assert found.prompt.count("reply ") == 2
        assert "reply 2" in found.prompt
        assert "reply 2" not in found.text, "the judge is not shown examples"

    def test_examples_of_one_side_alone_are_not_shown(self, workspace):
        workspace.advice.add([self.stored(workspace, reply="reply 0")])
        assert "examples" not in shot(workspace).blocks


class TestTemplatesOfTheWorkspace:
    def replaced(self, workspace, name, content):
        workspace.settings.prompts.mkdir(exist_ok=True)
        (workspace.settings.prompts / name).write_text(content, encoding="utf-8")
        return workspace

    def test_go_before_the_shipped_ones_and_change_the_version(self, opened):
        workspace = opened()
        before = shot(workspace)
        self.replaced(workspace, "advise.jinja", "{{ ticker }}? {{ snapshot }}")
        self.replaced(workspace, "system.jinja", "You are careful.")
        after = shot(workspace)
        assert after.prompt.startswith("You are careful.\nAAPL? momentum")
        assert after.prompt_version != before.prompt_version
        assert after.prompt_id == before.prompt_id

    def test_a_block_can_be_replaced_alone(self, opened):
        workspace = opened(blocks("features", "calendar"))
        self.replaced(workspace, "block_calendar.jinja", "on a {{ weekday }}")
        assert "on a Friday" in shot(workspace).text

    @pytest.mark.parametrize(
        ("name", "content", "error", "message"),
        [
            ("advise.jinja", "{{ ticker", BadInput, "advise.jinja, line 1"),
            ("advise.jinja", "{{ price }}", BadInput, "price.*is undefined"),
            ("advise.jinja", "{{ ticker / 2 }}", BadInput, "unsupported operand"),
            ("advice.jinja", "x", NotFound, "advice.jinja"),
        ],
    )
    def test_a_template_that_cannot_work_is_named(self, opened, name, content, error, message):
        with pytest.raises(error, match=message):
            shot(self.replaced(opened(), name, content))


def test_the_version_changes_with_blocks_and_their_bounds(opened):
    versions = [
        shot(opened(context, name=str(number))).prompt_version
        for number, context in enumerate(["", blocks("features", "trend"), blocks("features", "trend") + "\nbars = 9"])
    ]
    assert len({*versions}) == 3
    assert shot(opened("", name="again")).prompt_version == versions[0]


@pytest.mark.parametrize(
    "context", [blocks("trend"), blocks("features", "weather"), blocks("features", "features"), 'benchmark = "spy"']
)
def test_a_table_that_makes_no_prompt_is_an_error(opened, context):
    with pytest.raises(SettingsError, match="context"):
        opened(context)

"""The Advisory tab, driven as its table drives it, against the real API; `tests/browser` drives the table itself."""

import asyncio
import math
from datetime import timedelta

import httpx
import ipywidgets as widgets
import pytest

from osiris.core.ideas import FINAL_OUTCOMES
from osiris.market.sample import load_sample
from osiris.serving.server import address_path, start_api
from osiris.ui.advisory import AdvisoryTab, open_advisory
from osiris.ui.controls import escape_tex
from tests.builders import MOMENT, idea, ideas, make_workspace, outcome_table

NOW = MOMENT + timedelta(hours=2)
HOSTILE = '<img src=x onerror=alert(1)> $\\href{javascript:alert(1)}{x}$ \\(y\\) "quoted" & more'


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path, as_of=NOW)


@pytest.fixture
def api(workspace):
    with start_api(workspace, port=0) as running:
        yield running


@pytest.fixture
def open_tab(workspace, api):
    """A function that stores ideas and opens a tab on them."""

    def open_on(*rows, **options):
        workspace.advice.add(rows)
        return AdvisoryTab(api.client(), clock=workspace.clock, **{"reviewer": "ann", **options})

    return open_on


def restart(workspace, api):
    """Serve again at the address of an API that was stopped."""
    return start_api(workspace, port=int(api.url.rsplit(":", 1)[1]))


def given(workspace, row):
    return workspace.advice.feedback(f"transaction_id = '{row['id']}'")


def press(tab, do, *rows, **more):
    """What the table says when a person does something to rows."""
    ids = [row["id"] for row in rows]
    tab.handle_message({"do": do, "ids": ids, "id": ids[0] if ids else "", **more})


def shown(tab, row):
    return next(one for one in tab.table.rows if one["id"] == row["id"])


def statuses(tab):
    return [row["status"] for row in tab.table.rows]


def by_minutes(count, **changes):
    """Ideas from the newest on, a minute apart."""
    return [idea(number=n, as_of=MOMENT - timedelta(minutes=n), **changes) for n in range(count)]


# -- the table --------------------------------------------------------------------------------------------------------


def test_a_row_shows_what_an_idea_is(open_tab):
    row = idea(entry=1234.5, target=1300.0, stop=1200.0, price=1230.0, atr=40.0)
    (seen,) = open_tab(row).table.rows
    assert seen["cells"] == {
        "ticker": "AAPL",
        "side": "long",
        "entry": "1,234.50",
        "target": "1,300.00",
        "stop": "1,200.00",
        "ratio": "1.90",
        "rationale": row["rationale"],
        "hermes": "0.7",
        "win": "–",
        "confidence": "0.60",
        "adapter": "base",
        "age": "2 h",
        "status": "pending",
    }
    assert (seen["pending"], seen["note"]) == (True, "")


def test_small_prices_keep_their_decimals_and_a_missing_score_is_a_dash(open_tab):
    row = idea(entry=1.08345, target=1.09, stop=1.08, price=1.08, atr=0.01, hermes_raw=None, hermes_score=None)
    cells = open_tab(row).table.rows[0]["cells"]
    assert (cells["entry"], cells["stop"], cells["hermes"]) == ("1.08345", "1.08000", "–")


@pytest.mark.parametrize(
    ("minutes", "age"), [(0, "2 h"), (59, "2 h"), (-61, "59 min"), (46 * 60, "2 d"), (45 * 60, "47 h")]
)
def test_age_is_told_in_its_largest_unit(open_tab, minutes, age):
    (seen,) = open_tab(idea(as_of=MOMENT - timedelta(minutes=minutes))).table.rows
    assert seen["cells"]["age"] == age


def test_an_outcome_stands_beside_the_status(open_tab, workspace):
    row = idea()
    tab = open_tab(row, status="all")
    press(tab, "approval", row)
    workspace.advice.settle(outcome_table({"id": row["id"], "outcome": "win"}))
    tab.refresh()
    assert shown(tab, row)["cells"]["status"] == "approved · win"


def test_the_newest_ideas_come_first_page_by_page(open_tab):
    rows = by_minutes(7)
    tab = open_tab(*rows, page_size=3)
    seen = []
    for place in ("1–3 of 7", "4–6 of 7", "7–7 of 7"):
        assert tab.position_label.value == place
        seen += [row["id"] for row in tab.table.rows]
        press(tab, "turn", by=+1)
    assert seen == [row["id"] for row in rows]
    assert (tab.next_button.disabled, tab.previous_button.disabled) == (True, False)
    tab.previous_button.click()
    assert tab.position_label.value == "4–6 of 7"


def test_after_decisions_the_next_page_begins_with_the_first_idea_nobody_saw(open_tab):
    rows = by_minutes(7)
    tab = open_tab(*rows, page_size=3)
    press(tab, "approval", *rows[:2])
    assert tab.position_label.value == "1–1 of 5, 2 done here"
    tab.refresh()
    assert [row["id"] for row in tab.table.rows] == [row["id"] for row in rows[:3]]
    tab.next_button.click()
    assert [row["id"] for row in tab.table.rows] == [row["id"] for row in rows[3:6]]
    assert tab.position_label.value == "2–4 of 5"


def test_what_others_decide_or_draft_meanwhile_leaves_no_idea_out(open_tab, workspace):
    rows = by_minutes(9)
    tab = open_tab(*rows, page_size=3)
    tab.next_button.click()
    bob = open_tab(idea(number=99, as_of=MOMENT + timedelta(minutes=1)), page_size=10, reviewer="bob")
    press(bob, "rejection", *rows[:2], rows[5])
    tab.refresh()
    assert [row["id"] for row in tab.table.rows] == [row["id"] for row in rows[3:6]]
    tab.next_button.click()
    assert [row["id"] for row in tab.table.rows] == [row["id"] for row in rows[6:]]
    assert (tab.position_label.value, tab.next_button.disabled) == ("5–7 of 7", True)
    tab.previous_button.click()
    tab.previous_button.click()
    assert tab.table.rows[0]["cells"]["age"] == "1 h"
    assert tab.previous_button.disabled


def test_an_edit_that_moves_an_idea_in_the_order_moves_no_page(open_tab):
    rows = [idea(number=n, confidence=0.9 - n / 10) for n in range(5)]
    tab = open_tab(*rows, page_size=2)
    press(tab, "sort", by="confidence")
    press(tab, "edit", rows[0])
    press(tab, "save", rows[0], values=tab.table.form["values"] | {"confidence": "0.1"})
    assert statuses(tab) == ["edited", "pending"]
    tab.next_button.click()
    assert [row["id"] for row in tab.table.rows] == [row["id"] for row in rows[2:4]]


def test_ideas_are_filtered_by_status_and_ticker(open_tab):
    rows = [*by_minutes(2), idea(number=9, ticker="MSFT")]
    tab = open_tab(*rows)
    tab.ticker.value = " msft "
    assert [row["id"] for row in tab.table.rows] == [rows[2]["id"]]
    press(tab, "rejection", rows[2])
    tab.status.value = "rejected"
    assert tab.position_label.value == "1–1 of 1"
    tab.ticker.value, tab.status.value = "", "all"
    assert len(tab.table.rows) == 3
    tab.ticker.value = "NONE"
    assert (tab.table.rows, tab.position_label.value, tab.table.cursor) == ([], "0 left", "")


def test_a_column_sorts_and_sorts_back(open_tab):
    rows = [idea(number=n, hermes_score=score) for n, score in enumerate([0.3, None, 0.9, 0.5])]
    tab = open_tab(*rows)

    def scores():
        return [row["cells"]["hermes"] for row in tab.table.rows]

    press(tab, "sort", by="hermes_score")
    assert scores() == ["0.9", "0.5", "0.3", "–"]
    press(tab, "sort", by="hermes_score")
    assert scores() == ["0.3", "0.5", "0.9", "–"]
    assert (tab.table.sort, tab.table.descending) == ("hermes_score", False)


def test_the_cursor_begins_at_the_first_idea_to_decide_on(open_tab):
    rows = by_minutes(3)
    tab = open_tab(*rows, status="all")
    assert tab.table.cursor == rows[0]["id"]
    press(tab, "approval", rows[0])
    assert open_tab(status="all").table.cursor == rows[1]["id"]


# -- decisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "status"), [("approval", "approved"), ("rejection", "rejected")])
def test_a_decision_is_saved_and_shown(open_tab, workspace, kind, status):
    row = idea()
    tab = open_tab(row, reviewer="cyd")
    press(tab, kind, row)
    seen = shown(tab, row)
    assert (seen["status"], seen["note"], seen["tone"], seen["pending"]) == (status, "Saved.", "saved", False)
    assert [(g["feedback_type"], g["reviewer"], g["timestamp"]) for g in given(workspace, row)] == [(kind, "cyd", NOW)]
    assert tab.client.pending == {}


def test_deciding_twice_is_one_decision(open_tab, workspace):
    row = idea()
    tab = open_tab(row)
    press(tab, "approval", row)
    press(tab, "rejection", row)
    assert (shown(tab, row)["status"], len(given(workspace, row))) == ("approved", 1)


def test_a_nameless_reviewer_is_anonymous(open_tab, workspace):
    row = idea()
    press(open_tab(row, reviewer=" "), "approval", row)
    assert workspace.advice.get(row["id"])["reviewer"] == "anonymous"


def test_a_decision_on_one_row_leaves_the_others_alone(open_tab, workspace):
    rows = by_minutes(3)
    tab = open_tab(*rows)
    press(tab, "approval", rows[1])
    assert statuses(tab) == ["pending", "approved", "pending"]
    assert workspace.advice.count("status = 'approved'") == 1


def test_a_selection_is_decided_on_at_once(open_tab, workspace):
    rows = by_minutes(30)
    tab = open_tab(*rows)
    assert tab.approve_button.disabled
    tab.table.selected = [row["id"] for row in rows[:25]]
    tab.decide("rejection", tab.table.selected)
    assert statuses(tab) == ["rejected"] * 25
    assert workspace.advice.count("status = 'rejected'") == len(workspace.advice.feedback()) == 25
    assert tab.position_label.value == "5 left, 25 done here"


def test_a_conflict_shows_who_decided_what_and_when_and_the_row_as_it_stands(open_tab, workspace):
    row = idea()
    tab, bob = open_tab(row), open_tab(reviewer="bob")
    press(bob, "edit", row)
    press(bob, "save", row, values={**bob.table.form["values"], "target": "108"})
    press(tab, "rejection", row)
    seen = shown(tab, row)
    for word in ("Not saved", "edited by bob", "2005-02-25 23:00"):
        assert word in seen["note"]
    assert (seen["status"], seen["cells"]["target"], seen["tone"]) == ("edited", "108.00", "refused")
    assert tab.client.pending == {}
    assert len(given(workspace, row)) == 1


def test_a_decision_after_the_deadline_is_not_shown_as_saved(open_tab, workspace):
    row = idea(as_of=MOMENT - timedelta(hours=30))
    tab = open_tab(row)
    press(tab, "approval", row)
    assert "Not saved" in shown(tab, row)["note"]
    assert "expired" in shown(tab, row)["note"]
    assert shown(tab, row)["status"] == workspace.advice.get(row["id"])["status"] == "pending"


# -- taking back ------------------------------------------------------------------------------------------------------


def test_the_last_decision_is_taken_back_and_then_the_one_before(open_tab, workspace):
    rows = by_minutes(4)
    tab = open_tab(*rows)
    assert tab.undo_button.disabled
    press(tab, "approval", rows[0])
    tab.decide("rejection", [rows[1]["id"], rows[2]["id"]])
    assert tab.undo_button.description == "↩ Undo 2 decisions"
    press(tab, "undo")
    assert statuses(tab) == ["approved", "pending", "pending", "pending"]
    assert shown(tab, rows[1])["note"] == "Undone."
    assert tab.undo_button.description == "↩ Undo approved AAPL"
    tab.undo_button.click()
    assert statuses(tab) == ["pending"] * 4
    assert tab.undo_button.disabled
    press(tab, "undo")
    assert len(workspace.advice.feedback()) == 6
    press(tab, "rejection", rows[0])
    assert shown(tab, rows[0])["status"] == "rejected"


@pytest.mark.parametrize("outcome", FINAL_OUTCOMES)
def test_what_has_ended_is_not_taken_back_and_the_row_says_why(open_tab, workspace, outcome):
    row = idea()
    tab = open_tab(row)
    press(tab, "approval", row)
    workspace.advice.settle(outcome_table({"id": row["id"], "outcome": str(outcome)}))
    press(tab, "undo")
    assert f"settled as {outcome}" in shown(tab, row)["note"]
    assert shown(tab, row)["status"] == "approved"


# -- edits ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def edit(open_tab):
    """A function that opens the edit form of a fresh idea: the tab, the idea, and a function to type with."""

    def opened(**changes):
        row = idea(**changes)
        tab = open_tab(row)
        press(tab, "edit", row)

        def typed(do="typed", **values):
            press(tab, do, row, values={**tab.table.form["values"], **values})
            return tab.table.form

        return tab, row, typed

    return opened


def test_an_edit_starts_from_the_idea_and_cannot_be_saved_unchanged(edit, workspace):
    tab, row, typed = edit()
    assert tab.table.form["values"] == {
        "entry": "100",
        "target": "106",
        "stop": "97",
        "confidence": "0.6",
        "comment": "",
    }
    assert (tab.table.form["ok"], "must change" in tab.table.form["message"]) == (False, True)
    assert not typed("save")["ok"]
    assert given(workspace, row) == []


def test_an_edit_is_saved_with_what_changed_and_the_comment(edit, workspace):
    tab, row, typed = edit()
    form = typed(target="109.0", confidence=" 0.8", comment="more room")
    assert (form["ok"], form["message"]) == (True, "reward to risk 3.00, target 4.5 ATR away, stop 1.5 ATR away")
    typed("save", target="109.0", confidence=" 0.8", comment="more room")
    stored = workspace.advice.get(row["id"])
    assert (stored["status"], stored["target"], stored["confidence"]) == ("edited", 109.0, 0.8)
    (feedback,) = given(workspace, stored)
    assert feedback["feedback_content"] == (
        '{"comment": "more room", "confidence": 0.8, "reviewer": "ann", "target": 109.0}'
    )
    assert feedback["original"] == '{"entry": 100.0, "target": 106.0, "stop": 97.0, "confidence": 0.6}'
    assert (shown(tab, row)["cells"]["target"], shown(tab, row)["cells"]["ratio"]) == ("109.00", "3.00")
    assert (shown(tab, row)["note"], tab.table.form) == ("Saved.", {})


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("stop", "101", "a long idea needs stop < entry < target"),
        ("target", "99", "a long idea needs"),
        ("entry", "0", "entry: Input should be greater than 0"),
        ("entry", "-1", "greater than 0"),
        ("target", "inf", "finite number"),
        ("target", str(math.nan), "finite number"),
        ("target", "1e999", "finite number"),
        ("target", "141", "20 ATR"),
        ("stop", "59", "20 ATR"),
        ("confidence", "1.2", "confidence: Input should be less than or equal to 1"),
        ("stop", "", "stop: expected a number such as 97"),
        ("stop", "9 6", "stop: expected a number"),
        ("stop", "96,5", "stop: expected a number"),
        ("comment", "c" * 2001, "comment: String should have at most 2000 characters"),
    ],
)
def test_an_edit_that_makes_no_trade_is_told_while_typing_and_cannot_be_saved(edit, workspace, field, text, message):
    _, row, typed = edit()
    form = typed(**{"target": "107", field: text})
    assert message in form["message"]
    assert not form["ok"]
    assert not typed("save", **{"target": "107", field: text})["ok"]
    assert workspace.advice.get(row["id"])["status"] == "pending"
    assert typed(target="107")["ok"]


def test_an_edit_can_be_left(edit, workspace):
    tab, row, typed = edit()
    typed(stop="96")
    press(tab, "cancel", row)
    assert (tab.table.form, given(workspace, row)) == ({}, [])


def test_a_form_stays_when_somebody_else_decides_and_says_who(edit, workspace, open_tab):
    tab, row, wider = edit()
    press(open_tab(reviewer="bob"), "rejection", row)
    tab.refresh()
    said = "The idea was rejected by bob meanwhile, so this edit cannot be saved. Esc closes the form."
    assert (tab.table.form["message"], tab.table.form["ok"]) == (said, False)
    for act in ("typed", "save"):
        press(tab, act, row, values=wider)
        assert (tab.table.form["id"], tab.table.form["message"]) == (row["id"], said)
    assert [one["reviewer"] for one in given(workspace, row)] == ["bob"]
    press(tab, "cancel", row)
    press(tab, "edit", row)
    assert tab.table.form == {}


def test_each_decision_and_each_saved_edit_is_confirmed_to_the_browser_once(open_tab, monkeypatch):
    rows, sent = ideas(3), []
    tab = open_tab(*rows)
    monkeypatch.setattr(tab.table, "send", sent.append)
    press(tab, "approval", rows[0])
    press(tab, "approval", rows[0])
    press(tab, "edit", rows[1])
    press(tab, "save", rows[1], values=dict(tab.table.form["values"]))
    assert sent == [{"do": "answered", "ids": [one["id"]]} for one in (rows[0], rows[0], rows[1])]


# -- what happens elsewhere -------------------------------------------------------------------------------------------


def test_what_is_decided_elsewhere_appears_in_its_place(open_tab):
    rows = by_minutes(3)
    tab, bob = open_tab(*rows), open_tab(reviewer="bob")
    press(bob, "approval", rows[1])
    assert statuses(tab) == ["pending"] * 3
    assert tab.refresh() == 1.0
    assert statuses(tab) == ["pending", "approved", "pending"]
    assert tab.position_label.value == "1–2 of 2, 1 done here"


def test_new_ideas_fill_the_free_places_behind_the_others(open_tab, workspace):
    rows = by_minutes(2)
    tab = open_tab(*rows, page_size=3)
    newer = [idea(number=n, as_of=MOMENT + timedelta(minutes=n)) for n in (7, 8)]
    workspace.advice.add(newer)
    tab.refresh()
    assert [row["id"] for row in tab.table.rows] == [rows[0]["id"], rows[1]["id"], newer[1]["id"]]
    assert tab.position_label.value == "1–3 of 4"


def test_what_was_fetched_before_a_decision_does_not_take_it_back(open_tab, workspace):
    rows = by_minutes(3)
    tab = open_tab(*rows)
    workspace.advice.add([idea(number=9)])
    fetched = tab.page.fetch()
    press(tab, "approval", rows[0])
    assert not tab.page.apply(fetched)
    assert tab.page.find_idea(rows[0]["id"])["status"] == "approved"
    assert tab.page.apply(tab.page.fetch())


def test_a_page_made_before_somebody_came_begins_anew(open_tab):
    rows = by_minutes(4)
    tab, bob = open_tab(*rows, page_size=2), open_tab(reviewer="bob")
    press(bob, "approval", rows[0])
    tab.refresh()
    assert not tab.table.is_fresh
    press(tab, "opened")
    assert tab.table.is_fresh
    assert [row["id"] for row in tab.table.rows] == [rows[1]["id"], rows[2]["id"]]
    press(tab, "approval", rows[1])
    press(tab, "opened")
    assert shown(tab, rows[1])["status"] == "approved"


def test_while_nothing_happens_nothing_is_drawn(open_tab):
    tab = open_tab(*by_minutes(2))
    drawn = []
    tab.table.observe(drawn.append, "rows")
    for _ in range(3):
        tab.refresh()
    assert drawn == []


def test_on_an_event_loop_the_page_follows_by_itself(workspace, api):
    row = idea()
    workspace.advice.add([row])

    async def watch():
        tab = AdvisoryTab(api.client(), clock=workspace.clock)
        await asyncio.sleep(0.1)
        press(AdvisoryTab(api.client(), clock=workspace.clock, reviewer="bob"), "approval", row)
        for _ in range(300):
            await asyncio.sleep(0.1)
            if shown(tab, row)["status"] == "approved":
                return tab
        raise AssertionError("not seen within half a minute")

    tab = asyncio.run(watch())
    assert tab.notice_label.value == ""


# -- a server that is away --------------------------------------------------------------------------------------------


def test_while_the_server_is_away_a_decision_is_kept_and_sent_when_it_is_back(open_tab, workspace, api):
    row = idea()
    tab = open_tab(row)
    api.stop()
    press(tab, "approval", row)
    seen = shown(tab, row)
    for word in ("Not saved yet", "approval", "does not answer", "sent again"):
        assert word in seen["note"]
    assert (seen["status"], seen["tone"], seen["pending"]) == ("pending", "waiting", False)
    press(tab, "rejection", row)
    assert [tab.refresh(), tab.refresh(), tab.refresh()] == [2.0, 4.0, 4.0]
    assert "Not up to date" in tab.notice_label.value
    with restart(workspace, api):
        assert tab.refresh() == 1.0
        assert (shown(tab, row)["note"], shown(tab, row)["status"], tab.notice_label.value) == (
            "Saved.",
            "approved",
            "",
        )
        assert tab.client.pending == {}
        press(tab, "undo")
        assert shown(tab, row)["status"] == "pending"
    assert [g["feedback_type"] for g in given(workspace, row)] == ["approval", "undo"]


def test_a_kept_decision_stays_on_top_when_the_page_is_turned(open_tab, workspace, api):
    rows = by_minutes(5)
    tab = open_tab(*rows, page_size=2)
    tab.next_button.click()
    api.stop()
    press(tab, "rejection", rows[2])
    tab.previous_button.click()
    assert [row["id"] for row in tab.table.rows] == [rows[2]["id"]]
    assert "Not saved yet" in shown(tab, rows[2])["note"]
    with restart(workspace, api):
        tab.refresh()
        assert [row["id"] for row in tab.table.rows] == [rows[2]["id"], rows[0]["id"]]
        assert shown(tab, rows[2])["status"] == "rejected"


def test_an_edit_is_kept_too(edit, workspace, api):
    tab, row, typed = edit()
    api.stop()
    typed("save", stop="96")
    assert "edit" in shown(tab, row)["note"]
    with restart(workspace, api):
        tab.refresh()
    assert workspace.advice.get(row["id"])["stop"] == 96.0


def test_a_decision_whose_answer_was_lost_is_one_row_when_it_is_sent_again(open_tab, workspace, api):
    row = idea()
    workspace.advice.add([row])
    lossy = httpx.Client(transport=LosesTheFirstAnswer(), base_url=api.url, headers=api.client().headers)
    tab = AdvisoryTab(lossy, reviewer="ann", clock=workspace.clock)
    press(tab, "approval", row)
    assert "Not saved yet" in shown(tab, row)["note"]
    assert workspace.advice.get(row["id"])["status"] == "approved"
    tab.refresh()
    assert shown(tab, row)["note"] == "Saved."
    assert len(given(workspace, row)) == 1


def test_a_decision_that_was_changed_before_its_answer_came_is_not_said_to_stand(open_tab, workspace, api):
    row = idea()
    workspace.advice.add([row])
    lossy = httpx.Client(transport=LosesTheFirstAnswer(), base_url=api.url, headers=api.client().headers)
    tab, other = AdvisoryTab(lossy, reviewer="ann", clock=workspace.clock), open_tab(status="all", reviewer="ann")
    press(tab, "approval", row)
    stored = workspace.advice.get(row["id"])
    body = {"status": "approved", "status_at": stored["status_at"].isoformat(), "reviewer": "ann"}
    assert other.client.http.post(f"/advice/{row['id']}/undo", json=body).status_code == 200
    tab.refresh()
    assert shown(tab, row)["note"] == "Not saved: the approval stands no more; the idea is pending."
    assert (shown(tab, row)["status"], tab.undo_stack) == ("pending", [])


def test_an_answer_that_makes_no_sense_is_no_answer(open_tab, workspace):
    row = idea()
    tab = open_tab(row)
    real = tab.client.http
    tab.client.http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, text="<p>proxy")))
    tab.client.http.base_url = real.base_url
    press(tab, "approval", row)
    assert "makes no sense" in shown(tab, row)["note"]
    tab.refresh()
    assert "makes no sense" in tab.notice_label.value
    tab.client.http = real
    tab.refresh()
    assert workspace.advice.get(row["id"])["status"] == shown(tab, row)["status"] == "approved"


def test_after_a_failure_the_page_looks_at_the_server_again(open_tab):
    tab = open_tab(idea())
    real, tab.client.http = tab.client.http, None

    async def looked():
        tab.refresh()
        await asyncio.sleep(1)

    asyncio.run(looked())
    assert "no longer follows" in tab.notice_label.value
    tab.client.http = real
    tab.refresh()
    assert tab.notice_label.value == ""


def test_a_form_that_was_left_saves_nothing_on_another_row(open_tab, workspace):
    rows = by_minutes(2)
    tab = open_tab(*rows)
    press(tab, "edit", rows[0])
    values = tab.table.form["values"] | {"target": "107"}
    press(tab, "edit", rows[1])
    press(tab, "save", rows[0], values=values)
    assert statuses(tab) == ["pending", "pending"]
    press(tab, "save", rows[1], values=values)
    assert statuses(tab) == ["pending", "edited"]


class LosesTheFirstAnswer(httpx.HTTPTransport):
    """A network that delivers the first POST and loses its answer."""

    lost = False

    def handle_request(self, request):
        answer = super().handle_request(request)
        if request.method == "POST" and not self.lost:
            self.lost = True
            raise httpx.ReadTimeout("lost", request=request)
        return answer


def test_an_answer_that_says_nothing_about_the_decision_keeps_it(open_tab, workspace):
    row = idea()
    tab = open_tab(row)
    token = tab.client.http.headers.pop("Authorization")
    press(tab, "approval", row)
    assert "Not saved yet" in shown(tab, row)["note"]
    assert "401" in shown(tab, row)["note"]
    tab.client.http.headers["Authorization"] = token
    tab.refresh()
    assert workspace.advice.get(row["id"])["status"] == "approved"


def test_a_selection_larger_than_the_server_takes_at_once_is_saved_in_the_end(tmp_path):
    workspace = make_workspace(tmp_path, "[review]\nmax_requests_per_second = 10\n", NOW)
    rows = by_minutes(25)
    workspace.advice.add(rows)
    with start_api(workspace, port=0) as api:
        tab = AdvisoryTab(api.client(), clock=workspace.clock)
        press(tab, "approval", *rows)
        assert any("at most 10 requests a second" in row["note"] for row in tab.table.rows)

        async def wait():
            while tab.client.pending:
                await asyncio.sleep(1.1)
                tab.refresh()

        asyncio.run(asyncio.wait_for(wait(), 120))
        assert statuses(tab) == ["approved"] * 25
    assert len(workspace.advice.feedback()) == 25


def test_a_tab_opened_while_the_server_is_away_says_so_and_fills_when_it_is_back(workspace, api):
    workspace.advice.add([idea()])
    client = api.client()
    api.stop()
    tab = AdvisoryTab(client)
    assert "does not answer" in tab.notice_label.value
    with restart(workspace, api):
        tab.refresh()
    assert len(tab.table.rows) == 1
    assert tab.notice_label.value == ""


def test_a_server_that_comes_back_elsewhere_is_found_again(workspace, api):
    row = idea()
    workspace.advice.add([row])
    tab = open_advisory(workspace)
    api.stop()
    press(tab, "approval", row)
    with start_api(workspace, port=0) as other:
        assert other.url != api.url
        tab.refresh()
        tab.refresh()
        assert (shown(tab, row)["status"], other.url in tab.server_label.value) == ("approved", True)


# -- what stands beside -----------------------------------------------------------------------------------------------


def test_the_idea_under_the_cursor_has_its_price_its_siblings_and_its_like(open_tab, workspace):
    load_sample(workspace.bars, ["AAPL"])
    row = idea(basis_at=MOMENT, price=88.99, entry=88.99, target=95.0, stop=85.0)
    sibling = row | {"id": "sibling", "side": "short", "target": 80.0, "stop": 92.0, "hermes_score": None}
    earlier = idea(number=2, as_of=MOMENT - timedelta(days=3))
    workspace.advice.add([earlier])
    workspace.advice.settle(outcome_table({"id": earlier["id"], "outcome": "win", "r_multiple": 2.0}))
    tab = open_tab(row, sibling)
    tab.table.cursor = row["id"]
    tab.refresh()
    assert tab.details.title == "AAPL long from 88.99, drafted 2005-02-25 21:00 UTC"
    assert tab.details.picture.startswith(b"\x89PNG")
    siblings, similar, before = tab.details.tables
    assert [line["cells"] for line in siblings["rows"]] == [["short", "80.00", "92.00", "2.99", "–", "pending", "–"]]
    assert [(line["cells"][0], line["cells"][-1], line["tone"]) for line in similar["rows"]] == [
        ("AAPL", "win +2.00 R", "win")
    ]
    assert [line["cells"][0] for line in before["rows"]] == ["2005-02-22"]
    drawn = tab.details.picture
    tab.table.dark = True
    assert tab.details.picture != drawn


def test_without_prices_or_a_server_the_place_of_the_picture_says_so(open_tab, api):
    rows = by_minutes(2)
    tab = open_tab(*rows)
    tab.refresh()
    assert (tab.details.picture, tab.details.empty_text) == (b"", "No prices of AAPL in the local store.")
    api.stop()
    tab.table.cursor = rows[1]["id"]
    assert "does not answer" in tab.details.title


# -- what a model or a person wrote -----------------------------------------------------------------------------------


def test_nothing_that_was_written_reaches_a_widget_that_makes_html_or_tex_of_it(open_tab):
    row = idea(rationale=HOSTILE, adapter=HOSTILE, ticker="<b>$x$")
    tab, bob = open_tab(row), open_tab(reviewer=HOSTILE[:80])
    press(bob, "rejection", row)
    press(tab, "approval", row)
    assert HOSTILE[:80] in shown(tab, row)["note"]
    assert shown(tab, row)["cells"]["rationale"] == HOSTILE
    seen = [*all_widgets(tab), *all_widgets(bob)]
    assert not [widget for widget in seen if isinstance(widget, widgets.HTML | widgets.HTMLMath)]
    labels = [widget.value for widget in seen if isinstance(widget, widgets.Label)]
    assert not [text for text in labels if "$" in text or "\\" in text]
    assert escape_tex("$\\") == "＄＼"


def all_widgets(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from all_widgets(child)


# -- opening ----------------------------------------------------------------------------------------------------------


def test_opening_uses_the_api_that_runs(workspace, api):
    row = idea()
    workspace.advice.add([row])
    tab = open_advisory(workspace)
    assert tab.api is None
    assert api.url in tab.server_label.value
    assert "already running" in tab.server_label.value
    press(tab, "approval", row)
    assert workspace.advice.count("status = 'approved'") == 1


def test_opening_starts_an_api_where_none_runs_and_says_so(workspace):
    row = ideas(1)[0]
    workspace.advice.add([row])
    tab = open_advisory(workspace, reviewer="ann")
    with tab.api:
        assert tab.api.url in tab.server_label.value
        assert "started here" in tab.server_label.value
        press(tab, "approval", row)
        assert open_advisory(workspace).api is None
    assert workspace.advice.get(row["id"])["reviewer"] == "ann"
    assert not address_path(workspace).exists()

"""The Advisory tab, driven by its widgets' own click handlers against the real API."""

import math
from datetime import timedelta

import httpx
import ipywidgets as widgets
import pytest

from osiris.services import address_path, start_api
from osiris.ui.advisory import AdvisoryTab, open_advisory
from osiris.ui.idea_row import plain
from tests.builders import MOMENT, idea, ideas, make_workspace

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


def all_widgets(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from all_widgets(child)


def buttons(row):
    return row.approve, row.reject, row.edit


# -- the table --------------------------------------------------------------------------------------------------------


def test_a_row_shows_what_an_idea_is(open_tab):
    row = idea(entry=1234.5, target=1300.0, stop=1200.0, price=1230.0, atr=40.0)
    (shown,) = open_tab(row).rows
    assert {name: cell.value for name, cell in shown.cells.items()} == {
        "ticker": "AAPL",
        "side": "long",
        "entry": "1,234.50",
        "target": "1,300.00",
        "stop": "1,200.00",
        "R:R": "1.90",
        "Hermes": "0.7",
        "confidence": "0.60",
        "adapter": "base",
        "as of": "2005-02-25 21:00",
        "status": "pending",
    }
    assert shown.rationale.value == row["rationale"]
    assert [button.description for button in buttons(shown)] == ["✅ Approve", "❌ Reject", "✏️ Edit"]
    assert not any(button.disabled for button in buttons(shown))
    assert shown.send_again.layout.display == "none"


def test_an_idea_without_a_score_shows_a_dash(open_tab):
    (shown,) = open_tab(idea(hermes_raw=None, hermes_score=None)).rows
    assert shown.cells["Hermes"].value == "–"


def test_the_newest_ideas_come_first_page_by_page(open_tab):
    rows = [idea(number=n, as_of=MOMENT - timedelta(minutes=n)) for n in range(7)]
    tab = open_tab(*rows, page_size=3)
    seen = []
    for place in ("1–3 of 7", "4–6 of 7", "7–7 of 7"):
        assert tab.place.value == place
        seen += [row.idea["id"] for row in tab.rows]
        tab.forth.click()
    assert seen == [row["id"] for row in rows]
    assert (tab.forth.disabled, tab.back.disabled) == (True, False)
    tab.back.click()
    assert tab.place.value == "4–6 of 7"


def test_without_ideas_the_table_is_empty(open_tab):
    tab = open_tab()
    assert (tab.rows, tab.place.value, tab.notice.value) == ([], "no ideas", "")
    assert tab.back.disabled
    assert tab.forth.disabled


def test_refreshing_shows_what_was_drafted_and_decided_meanwhile(open_tab, workspace):
    first, second = ideas(2)
    tab, other = open_tab(first), open_tab(reviewer="bob")
    other.rows[0].approve.click()
    workspace.advice.add([second])
    tab.reload.click()
    assert [row.idea["id"] for row in tab.rows] == [second["id"]]


def test_another_status_shows_those_ideas(open_tab):
    tab = open_tab(*ideas(3))
    tab.rows[1].reject.click()
    rejected = tab.rows[1].idea["id"]
    tab.status.value = "rejected"
    assert [row.idea["id"] for row in tab.rows] == [rejected]
    assert all(button.disabled for button in buttons(tab.rows[0]))


def test_refreshing_makes_no_more_widgets(open_tab):
    tab = open_tab(*ideas(4))
    before = set(map(id, all_widgets(tab)))
    tab.refresh()
    assert set(map(id, all_widgets(tab))) == before


# -- decisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("button", "kind", "status"), [("approve", "approval", "approved"), ("reject", "rejection", "rejected")]
)
def test_a_click_is_one_decision_of_the_named_reviewer(open_tab, workspace, button, kind, status):
    row = idea()
    tab = open_tab(row)
    tab.reviewer.value = "  cyd "
    (shown,) = tab.rows
    getattr(shown, button).click()
    assert workspace.advice.get(row["id"])["status"] == shown.cells["status"].value == status
    assert shown.note.value == "Saved."
    assert all(button.disabled for button in buttons(shown))
    assert [(g["feedback_type"], g["reviewer"], g["timestamp"]) for g in given(workspace, row)] == [(kind, "cyd", NOW)]
    assert tab.unsent == {}


def test_a_double_click_is_one_decision(open_tab, workspace):
    row = idea()
    (shown,) = open_tab(row).rows
    shown.approve.click()
    shown.approve.click()
    assert shown.note.value == "Saved."
    assert len(given(workspace, row)) == 1


def test_a_nameless_reviewer_is_anonymous(open_tab, workspace):
    row = idea()
    open_tab(row, reviewer=" ").rows[0].approve.click()
    assert workspace.advice.get(row["id"])["reviewer"] == "anonymous"


def test_a_decision_on_one_row_leaves_the_others_alone(open_tab, workspace):
    tab = open_tab(*ideas(3))
    tab.rows[1].approve.click()
    assert [row.cells["status"].value for row in tab.rows] == ["pending", "approved", "pending"]
    assert workspace.advice.count("status = 'approved'") == 1


def test_a_conflict_shows_who_decided_what_and_when_and_the_row_as_it_stands(open_tab, workspace):
    row = idea()
    tab = open_tab(row)
    bob = open_tab(reviewer="bob")
    bob.rows[0].edit.click()
    form = bob.rows[0].form.children[0]
    form.fields["target"].value = 108.0
    form.save.click()
    (shown,) = tab.rows
    shown.reject.click()
    for word in ("Not saved", "edited by bob", "2005-02-25 23:00"):
        assert word in shown.note.value
    assert (shown.cells["status"].value, shown.cells["target"].value) == ("edited", "108.00")
    assert tab.unsent == {}
    assert len(given(workspace, row)) == 1


def test_a_decision_after_the_deadline_is_not_shown_as_saved(open_tab, workspace):
    row = idea(as_of=MOMENT - timedelta(hours=30))
    (shown,) = open_tab(row).rows
    shown.approve.click()
    assert "Not saved" in shown.note.value
    assert "expired" in shown.note.value
    assert shown.cells["status"].value == workspace.advice.get(row["id"])["status"] == "pending"


# -- edits ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def edit(open_tab):
    """A function that opens the edit form of a fresh idea."""

    def opened(**changes):
        (shown,) = open_tab(idea(**changes)).rows
        shown.edit.click()
        (form,) = shown.form.children
        return shown, form

    return opened


def test_an_edit_starts_from_the_idea_and_cannot_be_saved_unchanged(edit):
    _, form = edit()
    assert {name: field.value for name, field in form.fields.items()} == {
        "entry": 100.0,
        "target": 106.0,
        "stop": 97.0,
        "confidence": 0.6,
    }
    assert form.save.disabled
    assert "must change" in form.message.value


def test_an_edit_is_saved_with_what_changed_and_the_comment(edit, workspace):
    shown, form = edit()
    form.fields["target"].value = 109.0
    form.fields["confidence"].value = 0.8
    form.comment.value = "more room"
    assert form.message.value == "reward to risk 3.00"
    form.save.click()
    stored = workspace.advice.get(shown.idea["id"])
    assert (stored["status"], stored["target"], stored["confidence"]) == ("edited", 109.0, 0.8)
    (feedback,) = given(workspace, stored)
    assert feedback["feedback_type"] == "human_edit"
    assert '"comment": "more room"' in feedback["feedback_content"]
    assert shown.cells["target"].value == "109.00"
    assert shown.cells["R:R"].value == "3.00"
    assert (shown.note.value, shown.form.children) == ("Saved.", ())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("stop", 101.0, "a long idea needs stop < entry < target"),
        ("target", 99.0, "a long idea needs"),
        ("entry", 0.0, "entry: Input should be greater than 0"),
        ("entry", -1.0, "greater than 0"),
        ("target", math.inf, "finite number"),
        ("target", math.nan, "finite number"),
        ("target", 141.0, "20 ATR"),
        ("stop", 59.0, "20 ATR"),
        ("confidence", 1.2, "confidence: Input should be less than or equal to 1"),
    ],
)
def test_an_edit_that_makes_no_trade_is_told_while_typing_and_cannot_be_saved(edit, workspace, field, value, message):
    shown, form = edit()
    assert all(field.continuous_update for field in form.fields.values())
    form.fields[field].value = value
    assert message in form.message.value
    assert form.save.disabled
    form.save.click()
    assert workspace.advice.get(shown.idea["id"])["status"] == "pending"
    form.fields[field].value = {"stop": 96.0, "target": 107.0, "entry": 101.0, "confidence": 0.7}[field]
    assert not form.save.disabled


def test_a_comment_that_is_too_long_is_told_while_typing(edit):
    _, form = edit()
    form.fields["stop"].value = 96.0
    form.comment.value = "c" * 2001
    assert form.save.disabled
    assert "comment" in form.message.value


def test_an_edit_can_be_left(edit, workspace):
    shown, form = edit()
    form.fields["stop"].value = 96.0
    form.cancel.click()
    assert shown.form.children == ()
    assert not shown.edit.disabled
    assert given(workspace, shown.idea) == []


# -- a server that is away --------------------------------------------------------------------------------------------


def test_while_the_server_is_away_a_decision_is_kept_and_not_shown_as_saved(open_tab, workspace, api):
    row = idea()
    tab = open_tab(row)
    (shown,) = tab.rows
    api.stop()
    shown.approve.click()
    for word in ("Not saved yet", "approval", "does not answer", "Send again"):
        assert word in shown.note.value
    assert shown.cells["status"].value == "pending"
    assert shown.send_again.layout.display == ""
    assert all(button.disabled for button in buttons(shown))
    shown.send_again.click()
    assert "Not saved yet" in shown.note.value
    with restart(workspace, api):
        shown.send_again.click()
    assert (shown.note.value, shown.cells["status"].value) == ("Saved.", "approved")
    assert shown.send_again.layout.display == "none"
    assert len(given(workspace, row)) == 1


def test_a_kept_decision_survives_a_refresh_on_top_of_the_table(open_tab, workspace, api):
    rows = [idea(number=n, as_of=MOMENT - timedelta(minutes=n)) for n in range(3)]
    tab = open_tab(*rows, page_size=2)
    tab.forth.click()
    (shown,) = tab.rows
    api.stop()
    shown.reject.click()
    tab.reload.click()
    assert "not up to date" in tab.notice.value
    with restart(workspace, api):
        tab.back.click()
        assert tab.notice.value == ""
        assert [row.idea["id"] for row in tab.rows] == [rows[2]["id"], rows[0]["id"]]
        assert "rejection" in tab.rows[0].note.value
        tab.rows[0].send_again.click()
    assert workspace.advice.get(rows[2]["id"])["status"] == "rejected"
    assert tab.rows[0].note.value == "Saved."


def test_an_edit_is_kept_too(edit, workspace, api):
    shown, form = edit()
    form.fields["stop"].value = 96.0
    api.stop()
    form.save.click()
    assert "human_edit" in shown.note.value
    assert form.save.disabled
    with restart(workspace, api):
        shown.send_again.click()
    assert workspace.advice.get(shown.idea["id"])["stop"] == 96.0


def test_a_decision_whose_answer_was_lost_is_one_row_when_it_is_sent_again(open_tab, workspace, api):
    row = idea()
    workspace.advice.add([row])
    lossy = httpx.Client(transport=LosesTheFirstAnswer(), base_url=api.url, headers=api.client().headers)
    tab = AdvisoryTab(lossy, reviewer="ann", clock=workspace.clock)
    (shown,) = tab.rows
    shown.approve.click()
    assert "Not saved yet" in shown.note.value
    assert workspace.advice.get(row["id"])["status"] == "approved"
    tab.reload.click()
    tab.rows[0].send_again.click()
    assert tab.rows[0].note.value == "Saved."
    assert len(given(workspace, row)) == 1


class LosesTheFirstAnswer(httpx.HTTPTransport):
    """A network that delivers the first POST and loses its answer."""

    lost = False

    def handle_request(self, request):
        answer = super().handle_request(request)
        if request.method == "POST" and not self.lost:
            self.lost = True
            raise httpx.ReadTimeout("lost", request=request)
        return answer


def test_an_answer_that_says_nothing_about_the_decision_keeps_it(open_tab, workspace, api):
    row = idea()
    tab = open_tab(row)
    token = tab.client.headers.pop("Authorization")
    tab.rows[0].approve.click()
    assert "Not saved yet" in tab.rows[0].note.value
    assert "401" in tab.rows[0].note.value
    tab.client.headers["Authorization"] = token
    tab.rows[0].send_again.click()
    assert workspace.advice.get(row["id"])["status"] == "approved"


def test_a_tab_opened_while_the_server_is_away_says_so_and_fills_when_it_is_back(workspace, api):
    workspace.advice.add([idea()])
    client = api.client()
    api.stop()
    tab = AdvisoryTab(client)
    assert "does not answer" in tab.notice.value
    with restart(workspace, api):
        tab.reload.click()
    assert len(tab.rows) == 1
    assert tab.notice.value == ""


# -- what a model or a person wrote -----------------------------------------------------------------------------------


def test_nothing_that_was_written_is_shown_as_html_or_tex(open_tab):
    tab = open_tab(idea(rationale=HOSTILE, adapter=HOSTILE, ticker="<b>$x$"))
    bob = open_tab(reviewer=HOSTILE[:80])
    bob.rows[0].reject.click()
    tab.rows[0].approve.click()
    assert plain(HOSTILE[:80]) in tab.rows[0].note.value
    shown = [*all_widgets(tab), *all_widgets(bob)]
    assert not [widget for widget in shown if isinstance(widget, widgets.HTML | widgets.HTMLMath)]
    labels = [widget.value for widget in shown if isinstance(widget, widgets.Label)]
    assert not [text for text in labels if "$" in text or "\\" in text]
    assert tab.rows[0].rationale.value == HOSTILE
    assert tab.rows[0].rationale.disabled


# -- opening ----------------------------------------------------------------------------------------------------------


def test_opening_uses_the_api_that_runs(workspace, api):
    workspace.advice.add([idea()])
    tab = open_advisory(workspace)
    assert tab.api is None
    assert api.url in tab.served_by.value
    assert "already running" in tab.served_by.value
    tab.rows[0].approve.click()
    assert workspace.advice.count("status = 'approved'") == 1


def test_opening_starts_an_api_where_none_runs_and_says_so(workspace):
    workspace.advice.add([idea()])
    tab = open_advisory(workspace, reviewer="ann")
    with tab.api:
        assert tab.api.url in tab.served_by.value
        assert "started here" in tab.served_by.value
        tab.rows[0].approve.click()
        assert open_advisory(workspace).api is None
    assert workspace.advice.get(tab.rows[0].idea["id"])["reviewer"] == "ann"
    assert not address_path(workspace).exists()

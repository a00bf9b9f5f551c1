"""The Advisory tab: a table of ideas to decide on by keyboard, the details of each, and the state of each decision.

A decision is shown as saved only after the server has confirmed it. While the server does not answer, the decision is
kept here, and it is sent again under the same key until the server answers. Decisions by other people appear within a
second or two. Rows keep their place while a person works on them. Text by a model or a person is shown as plain text.

One thing is not covered. Decisions that are still kept here are lost when the notebook's Python process ends; the page
warns before it is left.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import httpx
import ipywidgets as widgets

from osiris.core.clock import Clock, SystemClock
from osiris.core.commands import FeedbackType
from osiris.core.ideas import Status
from osiris.core.types import Row
from osiris.ui.api_client import DECISION_NAMES, ApiClient, PendingDecision, ServerUnavailable
from osiris.ui.controls import button, escape_tex
from osiris.ui.edits import check_edit, initial_fields
from osiris.ui.idea_details import IdeaDetails
from osiris.ui.pinned_page import ALL_STATUSES, PageSnapshot, PinnedPage
from osiris.ui.polling import poll, run_in_thread
from osiris.ui.review_table import ReviewTable, to_table_row

if TYPE_CHECKING:
    from osiris.serving.server import RunningApi
    from osiris.workspace import Workspace

REFRESH_SECONDS = 1.0
"""Seconds between two requests for the state of the page."""
MAX_REFRESH_SECONDS = 4.0
"""The pause doubles up to this while the server does not answer."""


class AdvisoryTab(widgets.VBox):
    """The Advisory tab.

    `page` has the ideas that are shown, `client.pending` the decisions without an answer. `undo_stack` has the ideas of
    each decision made here, the newest last; a selection that was decided at once is one entry. `notes` has the note
    and the tone of each idea that was decided here.
    """

    def __init__(
        self,
        client: httpx.Client,
        status: str = "pending",
        page_size: int = 25,
        reviewer: str = "anonymous",
        clock: Clock | None = None,
    ) -> None:
        """Show the ideas that the API behind `client` has; `notice_label` says so if the server does not answer."""
        self.client, self.clock = ApiClient(client), clock or SystemClock()
        self.page = PinnedPage(self.client, page_size, status)
        self.api: RunningApi | None = None
        self.find_client: Callable[[], httpx.Client | None] = lambda: None
        self.notes: dict[str, tuple[str, str]] = {}
        self.undo_stack: list[list[Row]] = []
        self._refresh_seconds = REFRESH_SECONDS
        self._is_fetching = False
        self.server_label, self.notice_label, self.position_label = widgets.Label(), widgets.Label(), widgets.Label()
        self.status = widgets.Dropdown(options=[*map(str, Status), ALL_STATUSES], value=status, description="Status")
        self.ticker = widgets.Text(placeholder="all", description="Ticker", continuous_update=False)
        self.reviewer = widgets.Text(reviewer, description="Reviewer")
        self.approve_button = button("✅ Approve selected", lambda: self.table.request_decision(FeedbackType.APPROVAL))
        self.reject_button = button("❌ Reject selected", lambda: self.table.request_decision(FeedbackType.REJECTION))
        self.undo_button = button("↩ Undo", self.undo)
        self.previous_button = button("◀", lambda: self.turn_page(-1))
        self.next_button = button("▶", lambda: self.turn_page(+1))
        self.table, self.details = ReviewTable(), IdeaDetails()
        super().__init__([self.server_label, *self._controls(), self.table, self.details])
        self.reload()
        # Observed only now: `refresh` draws the first picture, so that the tab itself opens without waiting for it.
        self.table.observe(lambda _: self._show_details(), ["cursor", "dark"])
        self._refresh_task = poll(self.refresh, self._show_stopped)

    def _controls(self) -> list[widgets.HBox]:
        self.table.on_msg(lambda _, message, __: self.handle_message(message))
        self.table.observe(lambda _: self._update_controls(), "selected")
        for control in (self.status, self.ticker):
            control.observe(lambda _: self.apply_filter(), "value")
        for field in (self.reviewer, self.status, self.ticker):
            field.layout.width, field.style.description_width = "220px", "70px"
        filters = [self.reviewer, self.status, self.ticker, self.previous_button, self.position_label, self.next_button]
        return [
            widgets.HBox(filters),
            widgets.HBox([self.approve_button, self.reject_button, self.undo_button, self.notice_label]),
        ]

    def handle_message(self, message: dict[str, Any]) -> None:
        """Carry out an act of a person that the table reports."""
        match message["do"]:
            case "opened":  # the page may have been rendered long before, so its rows are reloaded before they show
                if not (self.undo_stack or self.client.pending):
                    self.reload()
                self.table.is_fresh = True
            case "approval" | "rejection" as kind:
                self.decide(FeedbackType(kind), message["ids"])
                self.table.confirm_receipt(message["ids"])
            case "edit":
                self.open_form(message["id"])
            # The id is compared: a message of a form that is closed by now must not change another one.
            case "typed" | "save" | "cancel" as kind if message["id"] == self.table.form.get("id"):
                self._handle_form(kind, message)
            case "undo":
                self.undo()
            case "turn":
                self.turn_page(message["by"])
            case "sort":
                self.sort(message["by"])

    def _handle_form(self, kind: str, message: dict[str, Any]) -> None:
        match kind:
            case "typed":
                self._check_form(message["values"])
            case "save":
                self.save(message["values"])
                self.table.confirm_receipt([message["id"]])
            case "cancel":
                self.table.form = {}

    def decide(self, kind: FeedbackType, ids: list[str], content: dict[str, Any] | None = None) -> None:
        """Decide on those of `ids` that are on the page and still open. Each is a decision of its own; all are sent."""
        now = self.clock.now().isoformat()
        feedback_content = {**(content or {}), "reviewer": self.reviewer.value.strip() or "anonymous"}
        body = {
            "feedback_type": str(kind),
            "feedback_content": feedback_content,
            "timestamp": now,
            "schema_version": "1.0",
        }
        self._send(
            [
                PendingDecision(idea, "/feedback/phi3/", {"transaction_id": idea["id"], **body}, DECISION_NAMES[kind])
                for idea in self.page.ideas
                if idea["id"] in ids and self.page.is_open(idea)
            ]
        )

    def undo(self) -> None:
        """Take back the last decision made here, or all decisions of the last selection.

        The request names the status, time and reviewer that are to be undone, so that the server refuses if somebody
        else has decided since.
        """
        group = [
            idea for idea in (self.undo_stack.pop() if self.undo_stack else []) if idea["id"] not in self.client.pending
        ]
        self._send(
            [
                PendingDecision(
                    idea,
                    f"/advice/{idea['id']}/undo",
                    {name: idea[name] for name in ("status", "status_at", "reviewer")},
                    "undo",
                )
                for idea in group
            ]
        )

    def open_form(self, idea: str) -> None:
        """Open the form of an edit under the row of an open idea."""
        found = self.page.find_idea(idea)
        if found and self.page.is_open(found):
            self.table.form = {"id": idea, "values": initial_fields(found)}
            self._check_form(initial_fields(found))

    def save(self, typed: dict[str, str]) -> None:
        """Send the edit. If the server would refuse it, the form says why instead."""
        content = self._check_form(typed)
        if content is not None:
            idea, self.table.form = self.table.form["id"], {}
            self.decide(FeedbackType.HUMAN_EDIT, [idea], content)

    def apply_filter(self) -> None:
        """Show the first page of the ideas that fit the filters."""
        self.page.status, self.page.ticker = self.status.value, self.ticker.value.strip().upper()
        self.reload()

    def sort(self, by: str) -> None:
        """Sort by a column; sorting by the same column again reverses the order."""
        self.page.descending = not self.page.descending if by == self.page.sort else True
        self.page.sort = by
        with self.table.hold_sync():  # the header and the rows change in one message
            self.table.descending, self.table.sort = self.page.descending, by
            self.reload()

    def turn_page(self, pages: int) -> None:
        """Turn to the next (+1) or the previous (-1) page, if it exists."""
        if self.page.has_next if pages > 0 else self.page.has_previous:
            self.reload(self.page.path_after_turn(pages))

    def reload(self, path: Sequence[list[str]] = ()) -> None:
        """Show the page at the end of `path`. Ideas with a pending decision stay on top, whatever their status is."""
        self.notes = {key: note for key, note in self.notes.items() if key in self.client.pending}
        self.table.form = {}
        self.table.selected = []
        self.page.restart(path)
        self._apply_page(self._fetch_page())
        self._show()

    def refresh(self) -> float:
        """Send the kept decisions again and fetch the page; returns the seconds until the next call."""
        self._send(list(self.client.pending.values()))
        if not self._is_fetching:
            self._is_fetching = True
            run_in_thread(
                self._fetch_page, self._apply_page, self._show_stopped
            )  # in a thread, so that no decision waits
        if self.table.cursor and not self.details.requested:
            self._show_details()
        return self._refresh_seconds

    def _send(self, decisions: list[PendingDecision]) -> None:
        if not decisions:
            return
        results = self.client.send(decisions)
        self.notes |= {answer.decision.idea["id"]: answer.note for answer in results}
        self.page.update(answer.idea for answer in results if answer.idea)
        saved = [answer.idea for answer in results if answer.saved and answer.idea]
        decided = [idea for idea in saved if idea["status"] != Status.PENDING]  # an undo leaves it pending
        self.undo_stack += [decided] if decided else []
        self._show()

    def _fetch_page(self) -> PageSnapshot | ServerUnavailable | None:
        try:
            return self.page.fetch()
        except ServerUnavailable as error:
            return error

    def _apply_page(self, found: PageSnapshot | ServerUnavailable | None) -> None:
        self._is_fetching = False
        if isinstance(found, ServerUnavailable):
            self._refresh_seconds = min(self._refresh_seconds * 2, MAX_REFRESH_SECONDS)
            self.notice_label.value = escape_tex(f"⚠ Not up to date: {found}. Trying again.")
            self._reconnect()
            return
        self._refresh_seconds = REFRESH_SECONDS
        kept = len(self.client.pending)
        self.notice_label.value = (
            f"⚠ Not saved yet: {kept}; kept here, sent again until the server answers." if kept else ""
        )
        if self.page.apply(found):
            self._show()

    def _show(self) -> None:
        now, page = self.clock.now(), self.page
        self.table.rows = [to_table_row(idea, now, *self.notes.get(idea["id"], ("", ""))) for idea in page.ideas]
        if not page.find_idea(self.table.cursor):
            open_ids = [idea["id"] for idea in page.ideas if page.is_open(idea)]
            self.table.cursor = next(iter(open_ids or [idea["id"] for idea in page.ideas]), "")
        self._check_form_is_open()
        self._update_controls()

    def _update_controls(self) -> None:
        self.position_label.value = self.page.position_text()
        self.previous_button.disabled, self.next_button.disabled = not self.page.has_previous, not self.page.has_next
        self.approve_button.disabled = self.reject_button.disabled = not self.table.selected
        last = self.undo_stack[-1] if self.undo_stack else []
        subject = f" {last[0]['status']} {last[0]['ticker']}" if len(last) == 1 else f" {len(last)} decisions"
        self.undo_button.disabled = not last
        self.undo_button.description = "↩ Undo" + (subject if last else "")

    def _show_details(self) -> None:
        self.details.show_idea(self.page.find_idea(self.table.cursor), self.client.get_details, self.table.dark)

    def _check_form(self, typed: dict[str, str]) -> dict[str, Any] | None:
        """Return what the edit would send, or `None`; the form shows the resulting trade, or the mistake."""
        found = self._check_form_is_open()
        if found is None:
            return None
        checked = check_edit(found, typed)
        self.table.form = self.table.form | {"message": checked.message, "ok": checked.ok}
        return checked.content if checked.ok else None

    def _check_form_is_open(self) -> Row | None:
        """Return the idea of the form if it may still be edited.

        If somebody else has decided on it, the form stays and says so: a person may be typing, and what was typed is
        theirs. A form that vanished would also give the next keys to the table.
        """
        found = self.page.find_idea(self.table.form.get("id", ""))
        if found is None:
            self.table.form = {}
        elif not self.page.is_open(found):
            self.table.form = self.table.form | {"message": _describe_conflict(found), "ok": False}
            return None
        return found

    def _reconnect(self) -> None:
        client = self.find_client()
        if client is not None and client.base_url != self.client.http.base_url:
            self.client.http = client
            self.server_label.value = escape_tex(f"API of this workspace: {client.base_url} (found again).")

    def _show_stopped(self, error: BaseException) -> None:
        self._is_fetching = False
        self.notice_label.value = escape_tex(f"⚠ The page no longer follows the server: {error!r}. Open it anew.")


def _describe_conflict(idea: Row) -> str:
    by = f" by {idea['reviewer']}" if idea["reviewer"] else ""
    return f"The idea was {idea['status']}{by} meanwhile, so this edit cannot be saved. Esc closes the form."


def open_advisory(workspace: "Workspace", reviewer: str = "anonymous") -> AdvisoryTab:
    """Open the tab on the API that runs for `workspace`. Without one, an API is started in this process."""
    from osiris.serving.server import find_api, start_api

    api: RunningApi | None = None
    client = find_api(workspace)
    if client is None:
        api = start_api(workspace, port=0)
        client = api.client()
    tab = AdvisoryTab(client, reviewer=reviewer, clock=workspace.clock)
    tab.api = api
    tab.find_client = lambda: find_api(workspace)
    where = "started here; it ends with this notebook" if api else "already running"
    tab.server_label.value = f"API of this workspace: {tab.client.http.base_url} ({where})."
    return tab

"""The Advisory tab: a table of ideas worked through by keyboard, what stands beside each, and what became of decisions.

What it covers: a decision is shown as saved only once the server said so; while the server is away it is kept, and sent
again under the same key when it is back; what happens elsewhere is shown within a second or two; rows keep their place
while they are worked on; what a model or a person wrote is shown as plain text. What it does not: decisions that are
still kept here when the notebook's kernel ends are gone, and the page says so before it is left.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import httpx
import ipywidgets as widgets

from osiris.core.clock import Clock, SystemClock
from osiris.core.commands import FeedbackType
from osiris.core.ideas import Status
from osiris.ui.api_client import WORDS, Away, DeskClient, Idea, Letter
from osiris.ui.controls import button, plain
from osiris.ui.edits import check, typed_from
from osiris.ui.idea_details import Dossier
from osiris.ui.pinned_page import ALL, Look, PinnedPage
from osiris.ui.polling import beat, beside_the_loop
from osiris.ui.review_table import ReviewTable, row_of

if TYPE_CHECKING:
    from osiris.serving.server import RunningApi
    from osiris.workspace import Workspace

BEAT, SLOWEST = 1.0, 4.0
"""Seconds between two looks at the server, and at most between two while it is away."""


class AdvisoryTab(widgets.VBox):
    """The desk: `page` has the ideas shown, `desk.unsent` the decisions without an answer, `made` those made here."""

    def __init__(
        self,
        client: httpx.Client,
        status: str = "pending",
        page_size: int = 25,
        reviewer: str = "anonymous",
        clock: Clock | None = None,
    ) -> None:
        """Show the ideas that the API behind `client` has; a server that is away is said in `notice`."""
        self.desk, self.clock = DeskClient(client), clock or SystemClock()
        self.page = PinnedPage(self.desk, page_size, status)
        self.api: RunningApi | None = None
        self.find: Callable[[], httpx.Client | None] = lambda: None
        self.notes: dict[str, tuple[str, str]] = {}
        self.made: list[list[Idea]] = []
        self._pause, self._looking = BEAT, False
        self.served_by, self.notice, self.place = widgets.Label(), widgets.Label(), widgets.Label()
        self.status = widgets.Dropdown(options=[*map(str, Status), ALL], value=status, description="Status")
        self.ticker = widgets.Text(placeholder="all", description="Ticker", continuous_update=False)
        self.reviewer = widgets.Text(reviewer, description="Reviewer")
        self.approve = button("✅ Approve selected", lambda: self.table.ask(FeedbackType.APPROVAL))
        self.reject = button("❌ Reject selected", lambda: self.table.ask(FeedbackType.REJECTION))
        self.take_back = button("↩ Undo", self.undo)
        self.back, self.forth = button("◀", lambda: self.turn(-1)), button("▶", lambda: self.turn(+1))
        self.table, self.dossier = ReviewTable(), Dossier()
        super().__init__([self.served_by, *self._controls(), self.table, self.dossier])
        self.reload()
        self.table.observe(lambda _: self._look_beside(), ["cursor", "dark"])  # the first picture comes with the beat
        self._beating = beat(self.tick, self._say_stopped)

    def _controls(self) -> list[widgets.HBox]:
        self.table.on_msg(lambda _, message, __: self.act(message))
        self.table.observe(lambda _: self._offer(), "selected")
        for control in (self.status, self.ticker):
            control.observe(lambda _: self.filter(), "value")
        for field in (self.reviewer, self.status, self.ticker):
            field.layout.width, field.style.description_width = "220px", "70px"
        filters = [self.reviewer, self.status, self.ticker, self.back, self.place, self.forth]
        return [widgets.HBox(filters), widgets.HBox([self.approve, self.reject, self.take_back, self.notice])]

    def act(self, message: dict[str, Any]) -> None:
        """Do what the table says that a person did."""
        match message["do"]:
            case "opened":  # the page may have been made long before somebody came: old rows are never seen
                if not (self.made or self.desk.unsent):
                    self.reload()
                self.table.fresh = True
            case "approval" | "rejection" as kind:
                self.decide(FeedbackType(kind), message["ids"])
            case "edit":
                self.open_form(message["id"])
            case "typed" | "save" as kind if message["id"] == self.table.form.get("id"):  # no other form's
                (self.save if kind == "save" else self._check)(message["values"])
            case "cancel":
                self.table.form = {}
            case "undo":
                self.undo()
            case "turn":
                self.turn(message["by"])
            case "sort":
                self.sort(message["by"])

    def decide(self, kind: FeedbackType, ids: list[str], content: dict[str, Any] | None = None) -> None:
        """Decide on those of `ids` that are on the page and still open: one letter each, all sent at once."""
        now, name = self.clock.now().isoformat(), self.reviewer.value.strip() or "anonymous"
        said = {**(content or {}), "reviewer": name}
        body = {"feedback_type": str(kind), "feedback_content": said, "timestamp": now, "schema_version": "1.0"}
        self._send(
            [
                Letter(idea, "/feedback/phi3/", {"transaction_id": idea["id"], **body}, WORDS[kind])
                for idea in self.page.ideas
                if idea["id"] in ids and self.page.open(idea)
            ]
        )

    def undo(self) -> None:
        """Take back the last decision made here, or all of the last selection."""
        group = [idea for idea in (self.made.pop() if self.made else []) if idea["id"] not in self.desk.unsent]
        made = [{name: idea[name] for name in ("status", "status_at", "reviewer")} for idea in group]
        self._send([Letter(i, f"/advice/{i['id']}/undo", body, "undo") for i, body in zip(group, made, strict=True)])

    def open_form(self, idea: str) -> None:
        """Open the fields of an edit under the row of an open idea."""
        found = self.page.find(idea)
        if found and self.page.open(found):
            self.table.form = {"id": idea, "values": typed_from(found)}
            self._check(typed_from(found))

    def save(self, typed: dict[str, str]) -> None:
        """Send the edit, unless the server would refuse it: then say why."""
        content = self._check(typed)
        if content is not None:
            idea, self.table.form = self.table.form["id"], {}
            self.decide(FeedbackType.HUMAN_EDIT, [idea], content)

    def filter(self) -> None:
        """Show the first page of what the filters ask for."""
        self.page.status, self.page.ticker = self.status.value, self.ticker.value.strip().upper()
        self.reload()

    def sort(self, by: str) -> None:
        """Sort by a column; by the same one again, the other way round."""
        self.page.descending = not self.page.descending if by == self.page.sort else True
        self.page.sort = by
        with self.table.hold_sync():  # head and rows change at once
            self.table.descending, self.table.sort = self.page.descending, by
            self.reload()

    def turn(self, pages: int) -> None:
        """Turn a page, if there is one."""
        if self.page.has_next if pages > 0 else self.page.has_previous:
            self.reload(self.page.turned(pages))

    def reload(self, path: Sequence[list[str]] = ()) -> None:
        """Show the page at the end of `path`; ideas with an unsent decision stay on top, whatever became of them."""
        self.notes = {key: note for key, note in self.notes.items() if key in self.desk.unsent}
        self.table.form, self.table.selected = {}, []
        self.page.begin(path)
        self._take(self._fetched())
        self._show()

    def tick(self) -> float:
        """Send what is kept, look what changed; returns the seconds until the next time."""
        self._send(list(self.desk.unsent.values()))
        if not self._looking:
            self._looking = True
            beside_the_loop(self._fetched, self._take, self._say_stopped)  # no decision waits for it
        if self.table.cursor and not self.dossier.wanted:
            self._look_beside()
        return self._pause

    def _send(self, letters: list[Letter]) -> None:
        if not letters:
            return
        answers = self.desk.send(letters)
        self.notes |= {answer.letter.idea["id"]: answer.note for answer in answers}
        self.page.put(answer.idea for answer in answers if answer.idea)
        decided = [answer.idea for answer in answers if answer.saved and answer.idea["status"] != Status.PENDING]
        self.made += [decided] if decided else []
        self._show()

    def _fetched(self) -> Look | Away | None:
        try:
            return self.page.fetch()
        except Away as error:
            return error

    def _take(self, found: Look | Away | None) -> None:
        self._looking = False
        if isinstance(found, Away):
            self._pause = min(self._pause * 2, SLOWEST)
            self.notice.value = plain(f"⚠ Not up to date: {found}. Trying again.")
            self._find_again()
            return
        self._pause, kept = BEAT, len(self.desk.unsent)
        self.notice.value = f"⚠ Not saved yet: {kept}; kept here, sent again until the server answers." if kept else ""
        if self.page.take(found):
            self._show()

    def _show(self) -> None:
        now, page = self.clock.now(), self.page
        self.table.rows = [row_of(idea, now, *self.notes.get(idea["id"], ("", ""))) for idea in page.ideas]
        if not page.find(self.table.cursor):
            best = [idea["id"] for idea in page.ideas if page.open(idea)] or [idea["id"] for idea in page.ideas]
            self.table.cursor = next(iter(best), "")
        form = page.find(self.table.form.get("id", ""))
        if self.table.form and not (form and page.open(form)):
            self.table.form = {}
        self._offer()

    def _offer(self) -> None:
        self.place.value = self.page.where()
        self.back.disabled, self.forth.disabled = not self.page.has_previous, not self.page.has_next
        self.approve.disabled = self.reject.disabled = not self.table.selected
        last = self.made[-1] if self.made else []
        about = f" {last[0]['status']} {last[0]['ticker']}" if len(last) == 1 else f" {len(last)} decisions"
        self.take_back.disabled, self.take_back.description = not last, "↩ Undo" + (about if last else "")

    def _look_beside(self) -> None:
        self.dossier.follow(self.page.find(self.table.cursor), self.desk.beside, self.table.dark)

    def _check(self, typed: dict[str, str]) -> dict[str, Any] | None:
        """What the edit would send, or `None`; the form says what it comes to or what is wrong."""
        found = self.page.find(self.table.form.get("id", ""))
        if found is None:
            return None
        checked = check(found, typed)
        self.table.form = self.table.form | {"message": checked.message, "ok": checked.ok}
        return checked.content if checked.ok else None

    def _find_again(self) -> None:
        client = self.find()
        if client is not None and client.base_url != self.desk.http.base_url:
            self.desk.http = client
            self.served_by.value = plain(f"API of this workspace: {client.base_url} (found again).")

    def _say_stopped(self, error: BaseException) -> None:
        self._looking, self.notice.value = (
            False,
            plain(f"⚠ The page no longer follows the server: {error!r}. Open it anew."),
        )


def open_advisory(workspace: "Workspace", reviewer: str = "anonymous") -> AdvisoryTab:
    """The tab on the API that runs for `workspace`; when none does, one is started in this process, on a free port."""
    from osiris.serving.server import find_api, start_api

    client = find_api(workspace)
    api = None if client else start_api(workspace, port=0)
    tab = AdvisoryTab(client or api.client(), reviewer=reviewer, clock=workspace.clock)
    tab.api, tab.find = api, lambda: find_api(workspace)
    where = "started here; it ends with this notebook" if api else "already running"
    tab.served_by.value = f"API of this workspace: {tab.desk.http.base_url} ({where})."
    return tab

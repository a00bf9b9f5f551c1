"""The Advisory tab: a row an idea, a button a decision, each decision one `POST /feedback/phi3/`.

What it covers: a decision is shown as saved only once the server said so; while the server is away it is kept, and sent
again under the same key; what a model or a person wrote is shown as plain text, neither HTML nor TeX. What it does not:
changes made elsewhere appear with the next refresh, not by themselves.
"""

import secrets
from typing import TYPE_CHECKING, Any

import httpx
import ipywidgets as widgets

from osiris.clock import Clock, SystemClock
from osiris.records import FeedbackType, Status
from osiris.ui.idea_row import WIDTHS, Idea, IdeaRow, button, label, plain

if TYPE_CHECKING:
    from osiris.services import RunningApi
    from osiris.workspace import Workspace

UNDECIDED = {401, 408, 429}
"""Answers that, like any 5xx, say nothing about the decision itself."""


class AdvisoryTab(widgets.VBox):
    """The table of ideas of one status; `rows` are those on the page, `unsent` the decisions not yet answered."""

    def __init__(
        self,
        client: httpx.Client,
        status: str = "pending",
        page_size: int = 25,
        reviewer: str = "anonymous",
        clock: Clock | None = None,
    ) -> None:
        """Show the ideas that the API behind `client` has; a server that is away is said in `notice`."""
        self.client, self.page_size, self.clock = client, page_size, clock or SystemClock()
        self.api: RunningApi | None = None
        self.ideas: list[Idea] = []
        self.unsent: dict[str, tuple[Idea, str, dict[str, Any]]] = {}
        self.page = 0
        self.status = widgets.Dropdown(options=[str(s) for s in Status], value=status, description="Status")
        self.reviewer = widgets.Text(reviewer, description="Reviewer", continuous_update=True)
        self.reload = button("🔄 Refresh", self.refresh)
        self.served_by, self.notice, self.place = widgets.Label(), widgets.Label(), widgets.Label()
        self.back, self.forth = button("◀", lambda: self.turn(-1)), button("▶", lambda: self.turn(+1))
        self.table, self._made = widgets.VBox(), list[IdeaRow]()
        self.status.observe(lambda _: self.turn(-self.page), "value")
        head = widgets.HBox([label(name, width, bold=True) for name, width in WIDTHS.items()])
        tools = widgets.HBox([self.reviewer, self.status, self.reload, self.back, self.place, self.forth])
        super().__init__([self.served_by, tools, self.notice, head, self.table])
        self.refresh()

    @property
    def rows(self) -> list["IdeaRow"]:
        """The rows on the page."""
        return list(self.table.children)

    def refresh(self) -> None:
        """Load the ideas anew, newest first; those with an unsent decision stay on top, whatever became of them."""
        try:
            answer = self.client.get("/advice", params={"status": self.status.value, "limit": 10_000})
        except httpx.HTTPError as error:
            self.notice.value = f"The table is not up to date: {_away(error)} Press Refresh when it is back."
            return
        self.notice.value = "" if answer.is_success else plain(f"The table is not up to date: {_detail(answer)}")
        if answer.is_success:
            kept = [idea for idea, _, _ in self.unsent.values()]
            self.ideas = kept + [idea for idea in reversed(answer.json()) if idea["id"] not in self.unsent]
            self._show()

    def turn(self, pages: int) -> None:
        """Turn so many pages onwards, and refresh."""
        self.page += pages
        self.refresh()

    def decide(self, row: "IdeaRow", kind: FeedbackType, content: dict[str, Any]) -> None:
        """Keep a decision under a fresh key, and send it."""
        reviewer = self.reviewer.value.strip() or "anonymous"
        body = {
            "transaction_id": row.idea["id"],
            "feedback_type": str(kind),
            "feedback_content": {**content, "reviewer": reviewer},
            "timestamp": self.clock.now().isoformat(),
            "schema_version": "1.0",
        }
        self.unsent[row.idea["id"]] = (row.idea, secrets.token_hex(16), body)
        self.send_kept(row)

    def send_kept(self, row: "IdeaRow") -> None:
        """Send the kept decision of a row; it is dropped only when the server has answered to it."""
        _, key, body = self.unsent[row.idea["id"]]
        try:
            answer = self.client.post("/feedback/phi3/", json=body, headers={"Idempotency-Key": key})
        except httpx.HTTPError as error:
            row.wait(f"{body['feedback_type']}, {_away(error)}")
            return
        if answer.status_code in UNDECIDED or answer.is_server_error:
            row.wait(f"{body['feedback_type']}, {_detail(answer)}")
            return
        del self.unsent[row.idea["id"]]
        if answer.is_success:
            row.show(answer.json(), "Saved.")
        else:
            row.show(self._as_stored(row.idea), f"Not saved: {_detail(answer)}")

    def _as_stored(self, idea: Idea) -> Idea:
        try:
            answer = self.client.get(f"/advice/{idea['id']}")
        except httpx.HTTPError:
            return idea
        return answer.json() if answer.is_success else idea

    def _show(self) -> None:
        self.page = max(0, min(self.page, (len(self.ideas) - 1) // self.page_size))
        first = self.page * self.page_size
        page = self.ideas[first : first + self.page_size]
        self.back.disabled, self.forth.disabled = first == 0, first + len(page) >= len(self.ideas)
        self.place.value = f"{first + 1}–{first + len(page)} of {len(self.ideas)}" if page else "no ideas"
        self._made += [IdeaRow(idea, self.decide, self.send_kept) for idea in page[len(self._made) :]]
        for row, idea in zip(self._made, page, strict=False):
            row.show(idea)
            if idea["id"] in self.unsent:
                row.wait(f"{self.unsent[idea['id']][2]['feedback_type']}, no answer from the server yet.")
        self.table.children = self._made[: len(page)]


def open_advisory(workspace: "Workspace", reviewer: str = "anonymous") -> AdvisoryTab:
    """The tab on the API that runs for `workspace`; when none does, one is started in this process, on a free port."""
    from osiris.services import find_api, start_api

    client = find_api(workspace)
    api = None if client else start_api(workspace, port=0)
    tab = AdvisoryTab(client or api.client(), reviewer=reviewer, clock=workspace.clock)
    tab.api = api
    where = "started here; it ends with this notebook" if api else "already running"
    tab.served_by.value = f"API of this workspace: {tab.client.base_url} ({where})."
    return tab


def _away(error: httpx.HTTPError) -> str:
    return f"the server does not answer ({type(error).__name__})."


def _detail(answer: httpx.Response) -> str:
    problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return f"{answer.json()['detail'] if problem else answer.text[:200]} (HTTP {answer.status_code})."

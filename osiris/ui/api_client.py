"""The client of the API that the Advisory tab uses, and the results of the decisions that it sends.

A decision is kept under its idempotency key until the server has accepted or refused it. For example, a timeout or an
answer "503" says nothing about the decision: the server may have stored it or not. It is then sent again under the same
key, which the server stores only once.
"""

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from osiris.core.commands import Feedback, FeedbackType
from osiris.core.ideas import Status
from osiris.core.types import Row

RETRY_STATUSES = {401, 403, 408, 429}
"""Statuses that, like every 5xx, say nothing about the decision itself."""
MAX_PARALLEL_REQUESTS = 16
DECISION_NAMES = {
    FeedbackType.APPROVAL: "approval",
    FeedbackType.REJECTION: "rejection",
    FeedbackType.HUMAN_EDIT: "edit",
}


class ServerUnavailable(Exception):
    """The server does not answer, or its answer says nothing about the request."""


@dataclass(frozen=True)
class PendingDecision:
    """A decision to post: the idea, the path and body of the request, the action in words, and the idempotency key."""

    idea: Row
    path: str
    body: dict[str, Any]
    action: str
    key: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass(frozen=True)
class SendResult:
    """The result of sending a decision.

    It is `saved` or `refused`, and then `idea` is the idea as the server has it now. If it is neither, the decision is
    still kept. `detail` says why it is not saved.
    """

    decision: PendingDecision
    saved: bool
    refused: bool
    detail: str = ""
    idea: Row | None = None

    @property
    def note(self) -> tuple[str, str]:
        """The message to the person who decided, and its tone: saved, refused or waiting."""
        words = self.decision.action
        if self.saved:
            return ("Undone." if words == "undo" else "Saved."), "saved"
        if self.refused:
            return f"Not saved: {self.detail}.", "refused"
        return f"Not saved yet: {words}; {self.detail}. It is kept here and sent again by itself.", "waiting"


@dataclass(frozen=True)
class IdeaListing:
    """A page of ideas, the number of ideas before it (`offset`) and on all pages (`total`), and its entity tag."""

    ideas: list[Row]
    offset: int
    total: int
    tag: str


class ApiClient:
    """Requests of one Advisory tab; `pending` has the decisions without an answer, by the idea's id."""

    def __init__(self, client: httpx.Client) -> None:
        """Use the API behind `client`."""
        self.http = client
        self.pending: dict[str, PendingDecision] = {}

    def list_ideas(self, params: dict[str, Any], tag: str = "") -> IdeaListing | None:
        """List the ideas of `GET /advice` with `params`; `None` if nothing changed since `tag`.

        Raises `ServerUnavailable`.
        """
        answer = self._get("/advice", params, {"If-None-Match": tag} if tag else {})
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        offset, total = (_parse_count(answer.headers.get(name, "")) for name in ("X-Offset", "X-Total-Count"))
        return IdeaListing(_parse_json(answer), offset, total, answer.headers.get("ETag", ""))

    def get_details(self, idea: str) -> dict[str, Any]:
        """Return the details of an idea, see `osiris.review.queries.get_idea_details`; raises `ServerUnavailable`."""
        details: dict[str, Any] = _parse_json(self._get(f"/advice/{idea}/details", {}, {}))
        return details

    def send(self, decisions: Sequence[PendingDecision]) -> list[SendResult]:
        """Post decisions, several at once; those that stay without an answer remain in `pending`."""
        self.pending |= {decision.idea["id"]: decision for decision in decisions}
        with ThreadPoolExecutor(MAX_PARALLEL_REQUESTS) as pool:
            results = list(pool.map(self._post, decisions))
        for result in results:
            if result.saved or result.refused:
                self.pending.pop(result.decision.idea["id"], None)
        return results

    def _get(self, path: str, params: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        try:
            answer = self.http.get(path, params=params, headers=headers)
        except httpx.HTTPError as error:
            raise ServerUnavailable(_describe_failure(error)) from error
        if not answer.is_success and answer.status_code != httpx.codes.NOT_MODIFIED:
            raise ServerUnavailable(_describe_problem(answer))
        return answer

    def _post(self, decision: PendingDecision) -> SendResult:
        try:
            answer = self.http.post(decision.path, json=decision.body, headers={"Idempotency-Key": decision.key})
        except httpx.HTTPError as error:
            return SendResult(decision, False, False, _describe_failure(error))
        if answer.is_success:
            return _read_success(decision, answer)
        if answer.status_code in RETRY_STATUSES or answer.is_server_error:
            return SendResult(decision, False, False, _describe_problem(answer))
        return SendResult(decision, False, True, _describe_problem(answer), self._fetch_idea(decision.idea))

    def _fetch_idea(self, idea: Row) -> Row:
        try:
            stored: Row = _parse_json(self._get(f"/advice/{idea['id']}", {}, {}))
            return stored
        except ServerUnavailable:
            return idea


def _read_success(decision: PendingDecision, answer: httpx.Response) -> SendResult:
    """Return the result of a decision that the server has stored: whether it still holds.

    An answer can get lost, and the decision is then sent again under the same key. The server answers with the idea as
    it is now, and somebody else may have changed it in between.
    """
    try:
        idea = _parse_json(answer)
    except ServerUnavailable as error:
        return SendResult(decision, False, False, str(error))
    status, reviewer = Status.PENDING, idea["reviewer"]
    if decision.action != "undo":
        feedback = Feedback.model_validate(decision.body)
        status, reviewer = feedback.action, feedback.feedback_content.reviewer
    if (idea["status"], idea["reviewer"]) == (status, reviewer):
        return SendResult(decision, True, False, idea=idea)
    now = f"{idea['status']} by {idea['reviewer']}" if idea["reviewer"] else idea["status"]
    return SendResult(decision, False, True, f"the {decision.action} stands no more; the idea is {now}", idea)


def _parse_json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise ServerUnavailable(f"the server's answer makes no sense ({answer.text[:40]!r})") from error


def _parse_count(header: str) -> int:
    return int(header) if header.isdigit() else 0


def _describe_failure(error: httpx.HTTPError) -> str:
    return f"the server does not answer ({type(error).__name__})"


def _describe_problem(answer: httpx.Response) -> str:
    problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return f"{answer.json()['detail'] if problem else answer.text[:200]} (HTTP {answer.status_code})"

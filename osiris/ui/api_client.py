"""The desk as a client of the API: what it asks, and what becomes of a decision that it sends.

A decision is a letter. It is kept under its idempotency key until the server has said yes or no to it; a server that
does not answer, or whose answer says nothing about the decision, leaves it kept.
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
"""Answers that, like any 5xx, say nothing about the decision itself."""
MAX_PARALLEL_REQUESTS = 16
DECISION_NAMES = {
    FeedbackType.APPROVAL: "approval",
    FeedbackType.REJECTION: "rejection",
    FeedbackType.HUMAN_EDIT: "edit",
}


class ServerUnavailable(Exception):
    """The server does not answer, or answers with no word on what was asked."""


@dataclass(frozen=True)
class PendingDecision:
    """A decision to post: on which idea, where to, what, and in a person's words."""

    idea: Row
    path: str
    body: dict[str, Any]
    action: str
    key: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass(frozen=True)
class SendResult:
    """What became of a letter: `saved` or refused, with the idea as it now stands; neither: it is still kept."""

    decision: PendingDecision
    saved: bool
    refused: bool
    detail: str = ""
    idea: Row | None = None

    @property
    def note(self) -> tuple[str, str]:
        """What to tell the person who decided, and the tone of it: saved, refused or waiting."""
        words = self.decision.action
        if self.saved:
            return ("Undone." if words == "undo" else "Saved."), "saved"
        if self.refused:
            return f"Not saved: {self.detail}.", "refused"
        return f"Not saved yet: {words}; {self.detail}. It is kept here and sent again by itself.", "waiting"


@dataclass(frozen=True)
class IdeaListing:
    """A page of ideas, how many are ahead of it and on all pages, and the tag under which that was true."""

    ideas: list[Row]
    offset: int
    total: int
    tag: str


class ApiClient:
    """Questions and letters of one desk; `pending` are the letters without an answer, by the idea's id."""

    def __init__(self, client: httpx.Client) -> None:
        """Speak to the API behind `client`."""
        self.http = client
        self.pending: dict[str, PendingDecision] = {}

    def list_ideas(self, params: dict[str, Any], tag: str = "") -> IdeaListing | None:
        """The ideas that `GET /advice` gives for `params`; `None` when nothing changed since `tag`. Raises `Away`."""
        answer = self._get("/advice", params, {"If-None-Match": tag} if tag else {})
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        offset, total = (_parse_count(answer.headers.get(name, "")) for name in ("X-Offset", "X-Total-Count"))
        return IdeaListing(_parse_json(answer), offset, total, answer.headers.get("ETag", ""))

    def get_details(self, idea: str) -> dict[str, Any]:
        """What stands beside an idea; see `osiris.review.queries.get_idea_details`. Raises `Away`."""
        return _parse_json(self._get(f"/advice/{idea}/beside", {}, {}))

    def send(self, decisions: Sequence[PendingDecision]) -> list[SendResult]:
        """Post letters, several at once; those that stay without an answer are in `pending`."""
        self.pending |= {letter.idea["id"]: letter for letter in decisions}
        with ThreadPoolExecutor(MAX_PARALLEL_REQUESTS) as pool:
            answers = list(pool.map(self._post, decisions))
        for answer in answers:
            if answer.saved or answer.refused:
                self.pending.pop(answer.decision.idea["id"], None)
        return answers

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
            return _parse_json(self._get(f"/advice/{idea['id']}", {}, {}))
        except ServerUnavailable:
            return idea


def _read_success(decision: PendingDecision, answer: httpx.Response) -> SendResult:
    """Of a decision that the server has: whether it still stands, which a repeat of a lost answer cannot be sure of."""
    try:
        idea = _parse_json(answer)
    except ServerUnavailable as error:
        return SendResult(decision, False, False, str(error))
    wanted, by = Status.PENDING, idea["reviewer"]
    if decision.action != "undo":
        feedback = Feedback.model_validate(decision.body)
        wanted, by = feedback.action, feedback.feedback_content.reviewer
    if (idea["status"], idea["reviewer"]) == (wanted, by):
        return SendResult(decision, True, False, idea=idea)
    now = f"{idea['status']} by {idea['reviewer']}" if idea["reviewer"] else idea["status"]
    return SendResult(decision, False, True, f"the {decision.action} stands no more; the idea is {now}", idea)


def _parse_json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise ServerUnavailable(f"the server's answer makes no sense ({answer.text[:40]!r})") from error


def _parse_count(said: str) -> int:
    return int(said) if said.isdigit() else 0


def _describe_failure(error: httpx.HTTPError) -> str:
    return f"the server does not answer ({type(error).__name__})"


def _describe_problem(answer: httpx.Response) -> str:
    problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return f"{answer.json()['detail'] if problem else answer.text[:200]} (HTTP {answer.status_code})"

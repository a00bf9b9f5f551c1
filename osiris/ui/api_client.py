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

Idea = dict[str, Any]
SAYS_NOTHING = {401, 403, 408, 429}
"""Answers that, like any 5xx, say nothing about the decision itself."""
AT_ONCE = 16
WORDS = {FeedbackType.APPROVAL: "approval", FeedbackType.REJECTION: "rejection", FeedbackType.HUMAN_EDIT: "edit"}


class Away(Exception):
    """The server does not answer, or answers with no word on what was asked."""


@dataclass(frozen=True)
class Letter:
    """A decision to post: on which idea, where to, what, and in a person's words."""

    idea: Idea
    path: str
    body: dict[str, Any]
    words: str
    key: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass(frozen=True)
class Answer:
    """What became of a letter: `saved` or refused, with the idea as it now stands; neither: it is still kept."""

    letter: Letter
    saved: bool
    refused: bool
    detail: str = ""
    idea: Idea | None = None

    @property
    def note(self) -> tuple[str, str]:
        """What to tell the person who decided, and the tone of it: saved, refused or waiting."""
        words = self.letter.words
        if self.saved:
            return ("Undone." if words == "undo" else "Saved."), "saved"
        if self.refused:
            return f"Not saved: {self.detail}.", "refused"
        return f"Not saved yet: {words}; {self.detail}. It is kept here and sent again by itself.", "waiting"


@dataclass(frozen=True)
class Listing:
    """A page of ideas, how many are ahead of it and on all pages, and the tag under which that was true."""

    ideas: list[Idea]
    offset: int
    total: int
    tag: str


class DeskClient:
    """Questions and letters of one desk; `unsent` are the letters without an answer, by the idea's id."""

    def __init__(self, client: httpx.Client) -> None:
        """Speak to the API behind `client`."""
        self.http = client
        self.unsent: dict[str, Letter] = {}

    def ideas(self, params: dict[str, Any], tag: str = "") -> Listing | None:
        """The ideas that `GET /advice` gives for `params`; `None` when nothing changed since `tag`. Raises `Away`."""
        answer = self._get("/advice", params, {"If-None-Match": tag} if tag else {})
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        offset, total = (_count(answer.headers.get(name, "")) for name in ("X-Offset", "X-Total-Count"))
        return Listing(_said(answer), offset, total, answer.headers.get("ETag", ""))

    def beside(self, idea: str) -> dict[str, Any]:
        """What stands beside an idea; see `osiris.review.queries.beside`. Raises `Away`."""
        return _said(self._get(f"/advice/{idea}/beside", {}, {}))

    def send(self, letters: Sequence[Letter]) -> list[Answer]:
        """Post letters, several at once; those that stay without an answer are in `unsent`."""
        self.unsent |= {letter.idea["id"]: letter for letter in letters}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(self._post, letters))
        for answer in answers:
            if answer.saved or answer.refused:
                self.unsent.pop(answer.letter.idea["id"], None)
        return answers

    def _get(self, path: str, params: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        try:
            answer = self.http.get(path, params=params, headers=headers)
        except httpx.HTTPError as error:
            raise Away(_silence(error)) from error
        if not answer.is_success and answer.status_code != httpx.codes.NOT_MODIFIED:
            raise Away(_detail(answer))
        return answer

    def _post(self, letter: Letter) -> Answer:
        try:
            answer = self.http.post(letter.path, json=letter.body, headers={"Idempotency-Key": letter.key})
        except httpx.HTTPError as error:
            return Answer(letter, False, False, _silence(error))
        if answer.is_success:
            return _accepted(letter, answer)
        if answer.status_code in SAYS_NOTHING or answer.is_server_error:
            return Answer(letter, False, False, _detail(answer))
        return Answer(letter, False, True, _detail(answer), self._as_stored(letter.idea))

    def _as_stored(self, idea: Idea) -> Idea:
        try:
            return _said(self._get(f"/advice/{idea['id']}", {}, {}))
        except Away:
            return idea


def _accepted(letter: Letter, answer: httpx.Response) -> Answer:
    """Of a decision that the server has: whether it still stands, which a repeat of a lost answer cannot be sure of."""
    try:
        idea = _said(answer)
    except Away as error:
        return Answer(letter, False, False, str(error))
    wanted, by = Status.PENDING, idea["reviewer"]
    if letter.words != "undo":
        asked = Feedback.model_validate(letter.body)
        wanted, by = asked.action, asked.feedback_content.reviewer
    if (idea["status"], idea["reviewer"]) == (wanted, by):
        return Answer(letter, True, False, idea=idea)
    now = f"{idea['status']} by {idea['reviewer']}" if idea["reviewer"] else idea["status"]
    return Answer(letter, False, True, f"the {letter.words} stands no more; the idea is {now}", idea)


def _said(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise Away(f"the server's answer makes no sense ({answer.text[:40]!r})") from error


def _count(said: str) -> int:
    return int(said) if said.isdigit() else 0


def _silence(error: httpx.HTTPError) -> str:
    return f"the server does not answer ({type(error).__name__})"


def _detail(answer: httpx.Response) -> str:
    problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return f"{answer.json()['detail'] if problem else answer.text[:200]} (HTTP {answer.status_code})"

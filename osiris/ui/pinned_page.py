"""A page of ideas whose rows keep their place while they are worked on, brought up to date from the API.

A page begins at an offset of the ideas that fit the filter. What was decided on stays where it is although it may fit
no longer, so that no row moves under a person's hand; the next page begins behind those that still fit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from osiris.loop.listing import Sort
from osiris.records import Status
from osiris.ui.desk_client import DeskClient, Idea

ALL = "all"


@dataclass(frozen=True)
class Look:
    """A page as fetched, and the edition of the page it was fetched for."""

    ideas: list[Idea]
    total: int
    tag: str
    edition: int


@dataclass
class PinnedPage:
    """The ideas on the page, in their order, and how many fit on all pages (`total`)."""

    desk: DeskClient
    size: int
    status: str = str(Status.PENDING)
    ticker: str = ""
    sort: str = str(Sort.AS_OF)
    descending: bool = True
    offset: int = 0
    total: int = 0
    ideas: list[Idea] = field(default_factory=list)
    _tag: str = ""
    _edition: int = 0

    def begin(self, offset: int = 0) -> None:
        """Drop the page but for ideas with an unsent decision; the next look fills it from `offset`."""
        self.offset, self._tag = max(offset, 0), ""
        self._edition += 1
        self.ideas = [letter.idea for letter in self.desk.unsent.values()]

    def fetch(self) -> "Look | None":
        """What the page would be, from the server; `None` when nothing changed. Raises `Away`; changes nothing."""
        edition = self._edition
        listing = self.desk.ideas(self._params() | {"offset": self.offset, "limit": self.size}, self._tag)
        if listing is None:
            return None
        known = {idea["id"]: idea for idea in self.ideas} | {idea["id"]: idea for idea in listing.ideas}
        fresh = {idea["id"] for idea in listing.ideas}
        gone = [idea["id"] for idea in self.ideas if idea["id"] not in fresh]
        if gone:
            known |= {idea["id"]: idea for idea in self.desk.ideas({"id": gone, "limit": len(gone)}).ideas}
        here = [idea["id"] for idea in self.ideas]
        here += [idea["id"] for idea in listing.ideas if idea["id"] not in here][: max(self.size - len(here), 0)]
        return Look([known[key] for key in here], listing.total, listing.tag, edition)

    def take(self, look: "Look | None") -> bool:
        """Become what was fetched, unless the page was changed since; says whether anything changed."""
        if look is None or look.edition != self._edition:
            return False
        self.ideas, self.total, self._tag = look.ideas, look.total, look.tag
        return True

    def put(self, ideas: Iterable[Idea]) -> None:
        """Show these as they are now, where they are on the page."""
        new, fitted = {idea["id"]: idea for idea in ideas}, self.fitting
        self.ideas = [new.get(idea["id"], idea) for idea in self.ideas]
        self.total += self.fitting - fitted
        self._edition += 1

    def find(self, idea: str) -> Idea | None:
        """The idea of that id, if it is on the page."""
        return next((one for one in self.ideas if one["id"] == idea), None)

    def open(self, idea: Idea) -> bool:
        """Whether it can be decided on: it is pending, and no decision on it is under way."""
        return idea["status"] == Status.PENDING and idea["id"] not in self.desk.unsent

    @property
    def fitting(self) -> int:
        """How many on the page still fit the filter."""
        return sum(self._fits(idea) for idea in self.ideas)

    @property
    def has_next(self) -> bool:
        """Whether ideas that fit stand behind this page."""
        return self.offset + self.fitting < self.total

    def turned(self, pages: int) -> int:
        """The offset of the next (+1) or the previous (-1) page."""
        return self.offset + self.fitting if pages > 0 else max(self.offset - self.size, 0)

    def where(self) -> str:
        """Where the page is, in words."""
        shown, done = self.fitting, len(self.ideas) - self.fitting
        text = f"{self.offset + 1}–{self.offset + shown} of {self.total}" if shown else f"{self.total} left"
        return text + (f", {done} done here" if done else "")

    def _params(self) -> dict[str, Any]:
        params: dict[str, Any] = {"sort": self.sort, "descending": self.descending}
        params |= {"status": self.status} if self.status != ALL else {}
        return params | ({"ticker": self.ticker} if self.ticker else {})

    def _fits(self, idea: Idea) -> bool:
        return self.status in (ALL, idea["status"]) and self.ticker in ("", idea["ticker"])

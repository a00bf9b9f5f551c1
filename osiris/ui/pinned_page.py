"""A page of ideas whose rows keep their place while they are worked on, brought up to date from the API.

A page begins behind the ideas of the page before it. What was decided on stays where it is although it may fit no
longer, so that no row moves under a person's hand; and whatever others decide or draft, turning leaves no idea out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from osiris.core.ideas import Status
from osiris.core.types import Row
from osiris.review.queries import SortKey
from osiris.ui.api_client import ApiClient, IdeaListing

ALL_STATUSES = "all"
UNSTABLE_SORTS = {SortKey.STATUS, SortKey.REWARD_TO_RISK, SortKey.CONFIDENCE}
"""Orders in which a decision can change an idea's place."""


@dataclass(frozen=True)
class PageSnapshot:
    """A page as fetched, and the edition of the page it was fetched for."""

    ideas: list[Row]
    listing: IdeaListing
    edition: int


@dataclass
class PinnedPage:
    """The ideas on the page, in their order, and how many fit ahead of it (`offset`) and on all pages (`total`).

    `path` has the ids of each page that was turned on the way here.
    """

    client: ApiClient
    size: int
    status: str = str(Status.PENDING)
    ticker: str = ""
    sort: str = str(SortKey.AS_OF)
    descending: bool = True
    offset: int = 0
    total: int = 0
    ideas: list[Row] = field(default_factory=list)
    path: list[list[str]] = field(default_factory=list)
    _first_statuses: dict[str, str] = field(default_factory=dict)
    _tag: str = ""
    _edition: int = 0

    def restart(self, path: Sequence[list[str]] = ()) -> None:
        """Drop the page but for ideas with an pending decision; the next look fills it from the end of `path`."""
        self.path, self._first_statuses, self._tag = list(path), {}, ""
        self._edition += 1
        self.ideas = [letter.idea for letter in self.client.pending.values()]

    def fetch(self) -> "PageSnapshot | None":
        """What the page would be, from the server; `None` when nothing changed. Raises `Away`; changes nothing."""
        edition = self._edition
        listing = self.client.list_ideas(self._params() | {"limit": self.size}, self._tag)
        if listing is None:
            return None
        known = {idea["id"]: idea for idea in self.ideas} | {idea["id"]: idea for idea in listing.ideas}
        fresh = {idea["id"] for idea in listing.ideas}
        missing_ids = [idea["id"] for idea in self.ideas if idea["id"] not in fresh]
        if missing_ids:
            known |= {
                idea["id"]: idea
                for idea in self.client.list_ideas({"id": missing_ids, "limit": len(missing_ids)}).ideas
            }
        page_ids = [idea["id"] for idea in self.ideas]
        page_ids += [idea["id"] for idea in listing.ideas if idea["id"] not in page_ids][
            : max(self.size - len(page_ids), 0)
        ]
        return PageSnapshot([known[key] for key in page_ids], listing, edition)

    def apply(self, look: "PageSnapshot | None") -> bool:
        """Become what was fetched, unless the page was changed since; says whether anything changed."""
        if look is None or look.edition != self._edition:
            return False
        self.ideas, self.offset, self.total = look.ideas, look.listing.offset, look.listing.total
        self._first_statuses = {idea["id"]: idea["status"] for idea in look.ideas} | self._first_statuses
        self._tag = look.listing.tag
        return True

    def update(self, ideas: Iterable[Row]) -> None:
        """Show these as they are now, where they are on the page."""
        new, fitted = {idea["id"]: idea for idea in ideas}, self.match_count
        self.ideas = [new.get(idea["id"], idea) for idea in self.ideas]
        self.total += self.match_count - fitted
        self._edition += 1

    def find_idea(self, idea: str) -> Row | None:
        """The idea of that id, if it is on the page."""
        return next((one for one in self.ideas if one["id"] == idea), None)

    def is_open(self, idea: Row) -> bool:
        """Whether it can be decided on: it is pending, and no decision on it is under way."""
        return idea["status"] == Status.PENDING and idea["id"] not in self.client.pending

    @property
    def match_count(self) -> int:
        """How many on the page still fit the filter."""
        return sum(self._fits(idea) for idea in self.ideas)

    @property
    def has_next(self) -> bool:
        """Whether ideas that fit stand behind this page."""
        return self.offset + self.match_count < self.total

    @property
    def has_previous(self) -> bool:
        """Whether pages were turned on the way here."""
        return bool(self.path)

    def path_after_turn(self, pages: int) -> list[list[str]]:
        """The path of the next (+1) or the previous (-1) page."""
        behind = [
            idea["id"] for idea in self.ideas if idea["id"] not in self.client.pending and not self._has_moved(idea)
        ]
        return ([*self.path, behind] if behind else self.path) if pages > 0 else self.path[:-1]

    def position_text(self) -> str:
        """Where the page is, in words."""
        shown, done = self.match_count, len(self.ideas) - self.match_count
        text = f"{self.offset + 1}–{self.offset + shown} of {self.total}" if shown else f"{self.total} left"
        return text + (f", {done} done here" if done else "")

    def _params(self) -> dict[str, Any]:
        params: dict[str, Any] = {"sort": self.sort, "descending": self.descending}
        params |= {"status": self.status} if self.status != ALL_STATUSES else {}
        params |= {"after": self.path[-1]} if self.path else {}
        return params | ({"ticker": self.ticker} if self.ticker else {})

    def _has_moved(self, idea: Row) -> bool:
        """Whether a decision took the idea to another place in the order."""
        return self.sort in UNSTABLE_SORTS and self._first_statuses.get(idea["id"], idea["status"]) != idea["status"]

    def _fits(self, idea: Row) -> bool:
        return self.status in (ALL_STATUSES, idea["status"]) and self.ticker in ("", idea["ticker"])

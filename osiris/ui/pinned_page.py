"""A page of ideas whose rows keep their place while a person works on them, and that is updated from the API.

For example, a person approves the third of 25 pending ideas. It no longer fits the filter, yet it stays the third row,
so that no row moves under the person's hand. A page starts after the ideas of the page before it, not at a number. So
turning the page skips no idea, even if other people decide or new ideas are drafted meanwhile.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from osiris.core.ideas import Status
from osiris.core.types import Row
from osiris.review.queries import SortKey
from osiris.ui.api_client import ApiClient, IdeaListing, ServerUnavailable

ALL_STATUSES = "all"
UNSTABLE_SORTS = {SortKey.STATUS, SortKey.REWARD_TO_RISK, SortKey.CONFIDENCE}
"""The orders in which a decision can move an idea: every one changes the status, an edit also the other two values."""


@dataclass(frozen=True)
class PageSnapshot:
    """A page as fetched, and the edition of the page for which it was fetched (see `PinnedPage.apply`)."""

    ideas: list[Row]
    listing: IdeaListing
    edition: int


@dataclass
class PinnedPage:
    """The ideas on the page, in their order.

    `offset` is the number of ideas that fit the filter and come before this page; `total` is the number on all pages.
    `path` has one list of ids for each page that was turned to get here. `_first_statuses` has the status with which
    each idea was first seen on this page. `_edition` counts the changes that make an earlier fetch out of date.
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
        """Drop the page, except for ideas with a pending decision. The next fetch fills it from the end of `path`."""
        self.path = list(path)
        self._first_statuses = {}
        self._tag = ""
        self._edition += 1
        self.ideas = [decision.idea for decision in self.client.pending.values()]

    def fetch(self) -> "PageSnapshot | None":
        """Fetch what the page would be now, and change nothing; `None` if nothing changed on the server.

        It may run in a thread while the page is used. Raises `ServerUnavailable`.
        """
        edition = self._edition
        listing = self.client.list_ideas(self._params() | {"limit": self.size}, self._tag)
        if listing is None:
            return None
        known = {idea["id"]: idea for idea in self.ideas} | {idea["id"]: idea for idea in listing.ideas}
        fresh = {idea["id"] for idea in listing.ideas}
        missing_ids = [idea["id"] for idea in self.ideas if idea["id"] not in fresh]
        if missing_ids:
            # Ideas that are on the page and no longer fit the filter: they are asked for by id.
            missing = self.client.list_ideas({"id": missing_ids, "limit": len(missing_ids)})
            if missing is None:
                raise ServerUnavailable("the server says that nothing changed, though no tag was sent")
            known |= {idea["id"]: idea for idea in missing.ideas}
        # The rows of the page come first and keep their order; new ideas fill the free places at the end.
        page_ids = [idea["id"] for idea in self.ideas]
        page_ids += [idea["id"] for idea in listing.ideas if idea["id"] not in page_ids][
            : max(self.size - len(page_ids), 0)
        ]
        return PageSnapshot([known[key] for key in page_ids], listing, edition)

    def apply(self, snapshot: "PageSnapshot | None") -> bool:
        """Take over what was fetched; returns whether anything changed.

        A snapshot of another edition is dropped. It was fetched before a decision or before the page was turned, so it
        would show the old status again.
        """
        if snapshot is None or snapshot.edition != self._edition:
            return False
        listing = snapshot.listing
        self.ideas, self.offset, self.total = snapshot.ideas, listing.offset, listing.total
        self._first_statuses = {idea["id"]: idea["status"] for idea in snapshot.ideas} | self._first_statuses
        self._tag = listing.tag
        return True

    def update(self, ideas: Iterable[Row]) -> None:
        """Replace these ideas, where they are on the page, and keep their places."""
        new = {idea["id"]: idea for idea in ideas}
        count_before = self.match_count
        self.ideas = [new.get(idea["id"], idea) for idea in self.ideas]
        self.total += self.match_count - count_before
        self._edition += 1

    def find_idea(self, idea: str) -> Row | None:
        """Return the idea with that id, if it is on the page."""
        return next((one for one in self.ideas if one["id"] == idea), None)

    def is_open(self, idea: Row) -> bool:
        """Whether a decision on the idea is possible: it is pending, and no decision on it is under way."""
        return idea["status"] == Status.PENDING and idea["id"] not in self.client.pending

    @property
    def match_count(self) -> int:
        """The number of ideas on the page that still fit the filter."""
        return sum(self._fits(idea) for idea in self.ideas)

    @property
    def has_next(self) -> bool:
        """Whether more ideas that fit the filter come after this page."""
        return self.offset + self.match_count < self.total

    @property
    def has_previous(self) -> bool:
        """Whether pages were turned to get here."""
        return bool(self.path)

    def path_after_turn(self, pages: int) -> list[list[str]]:
        """Return the path of the next (+1) or the previous (-1) page.

        The next page starts after the ideas of this one. An idea whose place a decision changed cannot mark that point,
        and neither can one with a pending decision.
        """
        if pages <= 0:
            return self.path[:-1]
        page_ids = [
            idea["id"] for idea in self.ideas if idea["id"] not in self.client.pending and not self._has_moved(idea)
        ]
        return [*self.path, page_ids] if page_ids else self.path

    def position_text(self) -> str:
        """Say where the page is, such as `26–50 of 112, 3 done here`."""
        shown = self.match_count
        done = len(self.ideas) - shown
        text = f"{self.offset + 1}–{self.offset + shown} of {self.total}" if shown else f"{self.total} left"
        return text + (f", {done} done here" if done else "")

    def _params(self) -> dict[str, Any]:
        params: dict[str, Any] = {"sort": self.sort, "descending": self.descending}
        params |= {"status": self.status} if self.status != ALL_STATUSES else {}
        params |= {"after": self.path[-1]} if self.path else {}
        return params | ({"ticker": self.ticker} if self.ticker else {})

    def _has_moved(self, idea: Row) -> bool:
        """Whether a decision may have moved the idea to another place in the order."""
        return self.sort in UNSTABLE_SORTS and self._first_statuses.get(idea["id"], idea["status"]) != idea["status"]

    def _fits(self, idea: Row) -> bool:
        return self.status in (ALL_STATUSES, idea["status"]) and self.ticker in ("", idea["ticker"])

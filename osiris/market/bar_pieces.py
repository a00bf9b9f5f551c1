"""Bars in pieces, because a ticker may have more bars than memory holds.

A piece is a row group of a Parquet file of bars. Its first start is an edge, so the pieces of a file never overlap.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise

import pandas as pd

MAX_PIECE_BARS = 250_000
"""Largest number of bars in a piece. It takes about 20 MB; reading a file of such pieces takes 130 MB."""

TimeRange = tuple[datetime | None, datetime | None]
"""The time from the first moment on and before the second; `None` is no limit."""


def align_pieces(
    edges: list[datetime], offered: Iterable[pd.DataFrame]
) -> Iterator[tuple[TimeRange, pd.DataFrame | None]]:
    """Each span of time with the bars that are offered for it, or with `None` if there are none.

    For example, bars for the last piece alone give each earlier piece with `None`, then the last one with its bars. The
    spans cover all time, and none reaches across an edge. `offered` are frames that follow one another in time.
    """
    left = list(edges)
    low: datetime | None = None
    ended = False
    for part, after in _with_next(_cut_at_edges(edges, offered)):
        while left and left[0] <= part["start"].iloc[0]:
            if low != left[0]:
                yield (low, left[0]), None
            low = left.pop(0)
        # The span ends at the next edge or where the next frame begins, whichever comes first.
        next_start = [after["start"].iloc[0].to_pydatetime()] if after is not None else []
        high = min(left[:1] + next_start, default=None)
        yield (low, high), part
        low, ended = high, high is None
    for edge in () if ended else (*left, None):
        if edge is None or edge != low:
            yield (low, edge), None
        low = edge


def _cut_at_edges(edges: list[datetime], offered: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The frames cut at the edges."""
    for frame in offered:
        cuts = [0, *(int(at) for at in frame["start"].searchsorted(pd.DatetimeIndex(edges, tz="UTC"))), len(frame)]
        yield from (frame.iloc[a:b].reset_index(drop=True) for a, b in pairwise(cuts) if b > a)


def _with_next(parts: Iterable[pd.DataFrame]) -> Iterator[tuple[pd.DataFrame, pd.DataFrame | None]]:
    """Each frame with the one after it; `None` after the last."""
    waiting = None
    for part in parts:
        if waiting is not None:
            yield waiting, part
        waiting = part
    if waiting is not None:
        yield waiting, None

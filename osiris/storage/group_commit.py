"""Group commit: calls that come from several threads at once are done together, by whichever thread is first."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

RequestType, ResultType = TypeVar("Ask"), TypeVar("Answer")


@dataclass(eq=False)
class _Call(Generic[RequestType, ResultType]):
    request: RequestType
    result: ResultType | None = None
    done: bool = False


class GroupCommit(Generic[RequestType, ResultType]):
    """A function of one `Ask` over `work`, which takes all that wait and gives an answer to each, in order.

    An answer that is an exception is raised to who asked. When `work` itself raises, so does the call that did the work
    of the group; the others of the group then have theirs done anew.
    """

    def __init__(self, work: Callable[[Sequence[RequestType]], Sequence[ResultType]]) -> None:
        """Do asks by `work`, one group at a time."""
        self._work = work
        self._waiting: list[_Call[RequestType, ResultType]] = []
        self._adding, self._working = threading.Lock(), threading.Lock()

    def __call__(self, request: RequestType) -> ResultType:
        """Wait for the answer to `ask`, doing the work of all who wait where nobody else is."""
        call: _Call[RequestType, ResultType] = _Call(request)
        with self._adding:
            self._waiting.append(call)
        with self._working:
            if not call.done:
                with self._adding:
                    group = [call, *(other for other in self._waiting if other is not call)]
                    self._waiting = []
                for one, answer in zip(group, self._work([one.request for one in group]), strict=True):
                    one.result, one.done = answer, True
        if isinstance(call.result, Exception):
            raise call.result
        return call.result

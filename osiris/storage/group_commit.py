"""Group commit: calls that come from several threads at once are done together, by the first thread."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

RequestType = TypeVar("RequestType")
ResultType = TypeVar("ResultType")


@dataclass(eq=False)
class _Call(Generic[RequestType, ResultType]):
    """One waiting call; compared by identity, because two calls may have equal requests."""

    request: RequestType
    result: ResultType | Exception | None = None
    done: bool = False


class GroupCommit(Generic[RequestType, ResultType]):
    """Turns a function of many requests, `work`, into a function of one request.

    `work` gets all waiting requests and returns one result for each, in order. A result that is an exception is raised
    in the thread of its request. If `work` itself raises, only the call that ran it raises. The other calls of that
    group are then done anew, each as the first of another group.
    """

    def __init__(self, work: Callable[[Sequence[RequestType]], Sequence[ResultType | Exception]]) -> None:
        """Pass requests to `work`, one group at a time."""
        self._work = work
        self._waiting: list[_Call[RequestType, ResultType]] = []
        # Lock order: `_working`, then `_adding`. `_adding` is held only for a moment, so that calls can queue up while
        # a group is at work. The longer the work takes, the larger the next group is.
        self._adding = threading.Lock()
        self._working = threading.Lock()

    def __call__(self, request: RequestType) -> ResultType:
        """Return the result for `request`; does the work of all waiting calls if no thread does."""
        call: _Call[RequestType, ResultType] = _Call(request)
        with self._adding:
            self._waiting.append(call)
        with self._working:
            if not call.done:
                with self._adding:
                    # This call goes first: after an error of an earlier group it is no longer among the waiting ones.
                    group = [call, *(other for other in self._waiting if other is not call)]
                    self._waiting = []
                results = self._work([member.request for member in group])
                for member, result in zip(group, results, strict=True):
                    member.result = result
                    member.done = True
        if isinstance(call.result, Exception):
            raise call.result
        return cast(ResultType, call.result)  # `done` is true: the group has set the result

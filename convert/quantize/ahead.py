"""Owns work that runs ahead of its consumer: pieces of one tensor on all cores, given back in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = min(os.cpu_count() or 1, 4)
"""Pieces in work at a time; numpy and the native kernel let other threads run. More would only wait for the hashing."""

Result = TypeVar("Result")


def map_ahead(function: Callable[[int, int], Result], ranges: Iterable[tuple[int, int]]) -> Iterator[Result]:
    """``function(start, stop)`` for each range, in order, at most THREADS + 1 results ahead of what was taken."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for start, stop in ranges:
                waiting.append(pool.submit(function, start, stop))
                if len(waiting) > THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for piece in waiting:
                piece.cancel()

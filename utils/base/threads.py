"""Work in a background thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def prefetch(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """Yield the items of an iterator that a background thread runs, up to `depth` items ahead.

    This saves time if making the items releases Python's global interpreter lock, as OpenCV and PyTorch do. An
    exception of the iterator is raised when its item is due.
    """
    end: Any = object()
    thread = ThreadPoolExecutor(1)
    try:
        futures = deque(thread.submit(next, items, end) for _ in range(depth))
        while (item := futures.popleft().result()) is not end:
            futures.append(thread.submit(next, items, end))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)

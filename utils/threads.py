"""Work that goes on beside other work."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
END = object()


def ahead(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """The same items, made by a thread of its own, up to `depth` of them before they are asked for.

    For work that gives up Python's lock, as OpenCV and PyTorch do. An error comes where its item would have come.
    """
    thread = ThreadPoolExecutor(1)
    try:
        waiting = deque(thread.submit(next, items, END) for _ in range(depth))
        while (item := waiting.popleft().result()) is not END:
            waiting.append(thread.submit(next, items, END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)

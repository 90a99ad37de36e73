"""Segments on several threads: claimed in order, worked on at once, finished in any order.

The libraries release the interpreter's lock while they encrypt, hash, read and write, so a thread a core keeps the
cores busy. Each thread has its own buffers and claims the next segment itself: nothing is copied from thread to thread.
Promises: the first failure stops every thread before it claims again, and is raised; no thread is left running.
Does not promise: an order, except through a `Line`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


class Line:
    """Lets threads through one at a time, in the order of their numbers."""

    def __init__(self, first: int = 0) -> None:
        self._changed = threading.Condition()
        self._next = first
        self._closed = False

    def enter(self, number: int) -> bool:
        """Wait for the turn of `number`, which ends with `leave`. False: a number before it will never come."""
        with self._changed:
            self._changed.wait_for(lambda: self._next == number or self._closed)
            return not self._closed

    def leave(self) -> None:
        """Let the next number through."""
        with self._changed:
            self._next += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody through any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def each(
    items: Iterable[Item], workers: int, start: Callable[[], Callable[[Item], None]], line: Line | None = None
) -> None:
    """Call what `start` returns with every item.

    Args:
        start: called once a thread; makes that thread's buffers.
        line: closed when a thread fails, so that no other waits for it.
    """
    claims, lock, stopped = iter(items), threading.Lock(), threading.Event()

    def claim() -> Item | None:
        with lock:
            return None if stopped.is_set() else next(claims, None)

    failed: list[BaseException] = []

    def run() -> None:
        try:
            work = start()
            while (item := claim()) is not None:
                work(item)
        except BaseException as error:  # noqa: BLE001  raised below, by the calling thread
            failed.append(error)
            stopped.set()
            if line is not None:
                line.close()

    # The calling thread works as well: it is there anyway, and when the last item is done nobody has to be woken.
    others = [threading.Thread(target=run, name=f"sealing_{number}", daemon=True) for number in range(1, workers)]
    for thread in others:
        thread.start()
    try:
        run()
        for thread in others:
            thread.join()
    finally:
        stopped.set()  # also when the calling thread was interrupted while it waited
        for thread in others:
            thread.join()
    try:
        if failed:
            raise failed[0]
    finally:
        failed.clear()  # its traceback holds this frame, and so would hold the buffers

"""Waiting without falling silent: somebody else is waiting for a sign of life meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import TypeVar

from hilum.scp.wire import TICK_SECONDS

T = TypeVar("T")


def do_nothing() -> None:
    """Do nothing meanwhile: nobody else is waiting."""


def patiently(function: Callable[[], T], meanwhile: Callable[[], None]) -> T:
    """Return what `function` returns, or raise what it raises; call `meanwhile` till then.

    For what cannot be asked how far it is: resolving a name, connecting, a helper process.

    Parameters
    ----------
    function
        Called in a thread of its own, which does not keep the node from stopping.
    meanwhile
        Called in this thread, several times a second.
    """
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001  # raised again by `result`
            outcome.set_exception(error)

    threading.Thread(
        target=work, name=f"{threading.current_thread().name}-wait", daemon=True
    ).start()
    while True:
        try:
            return outcome.result(TICK_SECONDS)
        except NotYet:
            if outcome.done():
                return outcome.result()
            meanwhile()

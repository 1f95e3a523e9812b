"""From a start to a signal: how every process of a node lives and ends."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

import structlog

log = structlog.get_logger(__name__)

#: SIGHUP: the terminal is gone.
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: New containers, less those gone, from one look for cycles among them to the next. Python's
#: own 700 is a few instances' worth, of which nearly nothing is left by then anyway.
_GARBAGE_OBJECTS: Final = 10_000


async def run_until_told(
    running: AbstractAsyncContextManager[object],
    when_ready: Callable[[], None],
    *,
    patient: bool = False,
) -> None:
    """Enter `running`, and leave it at SIGTERM, SIGINT or SIGHUP, unless that was ignored.

    A second signal ends the process.

    Parameters
    ----------
    running
        What runs for the length of the context. A signal that comes while it is entered
        cancels that.
    when_ready
        Called when it is entered.
    patient
        A second signal does nothing: who ends all processes of a node at once tells a worker
        to stop, and so does its supervisor.
    """
    loop = asyncio.get_running_loop()
    starting = asyncio.current_task()
    stopping = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            return
        if not patient:
            # A second signal finds the default handlers: who is in a hurry may be.
            for each in handled:
                loop.remove_signal_handler(each)
        stopping.set()
        log.info("stopping", signal=number.name)
        if starting is not None:
            starting.cancel()

    # By `nohup`, and no other signal is ignored on purpose.
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    handled = [each for each in _SIGNALS if not (ignored and each == signal.SIGHUP)]
    for number in handled:
        loop.add_signal_handler(number, stop, number)
    try:
        async with running:
            starting = None
            _settle()
            when_ready()
            await stopping.wait()
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise


def _settle() -> None:
    """Have no more garbage looked for among what is there for good: modules, classes, settings.

    There is hardly any, and an instance that is received pays for the search: so does one query
    in a hundred, which took 20 ms longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_OBJECTS)


@asynccontextmanager
async def background(task: "asyncio.Task[None]") -> AsyncIterator[None]:
    """Have `task` beside the body: its failure ends the body, the body's end cancels it."""
    body = asyncio.current_task()

    def end_body(done: "asyncio.Task[None]") -> None:
        if body is not None and not done.cancelled() and done.exception() is not None:
            body.cancel()

    task.add_done_callback(end_body)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

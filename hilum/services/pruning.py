"""Pruning: events that are old and that nobody is to be told of any more."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from hilum.index.outbox import Outbox

log = structlog.get_logger(__name__)

_EVERY_SECONDS: Final = 600.0


async def keep_pruning(outbox: Outbox, keep: timedelta) -> None:
    """Delete events that are older than `keep`, until cancelled; for the leader.

    Raises
    ------
    IndexUnavailable
        MongoDB does not answer.
    """
    while True:
        if pruned := await outbox.prune(datetime.now(UTC) - keep):
            log.info("old events deleted", documents=pruned)
        await asyncio.sleep(_EVERY_SECONDS)

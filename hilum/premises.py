"""What a node has once, however many workers: its data folder, its ports, its MongoDB."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from hilum.config.settings import Settings
from hilum.core.errors import NotFound
from hilum.core.listening import AddressInUse, listen
from hilum.index.mongod import EmbeddedMongod, running_uri
from hilum.lifetime import background
from hilum.storage.lock import InUse
from hilum.storage.spools import claim

log = structlog.get_logger(__name__)

#: How long whoever has a port may take to let go of it.
_PORT_SECONDS: Final = 3.0
_GLANCE_SECONDS: Final = 0.05
#: In the data folder.
SPOOL: Final = "spool"
OBJECTS: Final = "objects"


@dataclass(frozen=True, slots=True)
class Listeners:
    """The sockets a node accepts on."""

    dicom: socket.socket
    http: socket.socket


def ohif_folder(settings: Settings) -> Path:
    """Return where the files of the OHIF viewer are, or would be."""
    return settings.http.ohif_folder or settings.data_dir / "ohif"


def require_store(settings: Settings) -> None:
    """Return if there is something stored to look at.

    A folder that was misspelt must not be found to be in order.

    Raises
    ------
    NotFound
        No node has ever used this data folder.
    """
    if not (settings.data_dir / OBJECTS).is_dir():
        raise NotFound(f"there is no store in {settings.data_dir}")


@asynccontextmanager
async def holding(settings: Settings) -> AsyncIterator[None]:
    """Hold the data folder: one node at a time.

    Raises
    ------
    StorageUnavailable
        It cannot be used, or another node uses it.
    """
    lock = await asyncio.to_thread(claim, settings.data_dir / SPOOL)
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[Listeners]:
    """Have the sockets that connections are accepted on.

    Who has just been killed may still be about to let go of them: they are waited for a moment.

    Raises
    ------
    Invalid
        A port cannot be listened on.
    """
    with (
        await _listen(settings.bind, settings.dicom.port, "DICOM") as dicom,
        await _listen(settings.bind, settings.http.port, "HTTP") as http,
    ):
        yield Listeners(dicom, http)


async def _listen(host: str, port: int, service: str) -> socket.socket:
    deadline = time.monotonic() + _PORT_SECONDS
    told = False
    while True:
        try:
            return listen(host, port, service)
        except AddressInUse:
            if time.monotonic() > deadline:
                raise
        if not told:
            log.warning("waiting for a port", service=service, port=port, seconds=_PORT_SECONDS)
            told = True
        await asyncio.sleep(_GLANCE_SECONDS)


@asynccontextmanager
async def beside(settings: Settings) -> AsyncIterator[tuple[Settings, bool]]:
    """Have a MongoDB to read in, whether a node runs on the data folder or not.

    Yields settings that say where it is, and whether a node runs; if none does, the data folder
    is held as a node holds it.

    Raises
    ------
    StorageUnavailable
        The data folder cannot be used.
    Invalid
        There is no MongoDB to start, or that of the running node cannot be found.
    IndexUnavailable
        It does not start.
    """
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(holding(settings))
            node_runs = False
        except InUse:
            node_runs = True
        if node_runs:
            uri = settings.mongodb.uri or running_uri(settings.data_dir)
            yield _with_uri(settings, uri), True
        else:
            yield await stack.enter_async_context(with_mongodb(settings)), False


@asynccontextmanager
async def with_mongodb(settings: Settings) -> AsyncIterator[Settings]:
    """Start the node's own MongoDB if it has no other; yield settings that say where it is.

    Raises
    ------
    Invalid
        There is none to start.
    IndexUnavailable
        It does not start.
    """
    if settings.mongodb.uri is not None:
        yield settings
        return
    async with AsyncExitStack() as stack:
        mongod = EmbeddedMongod(settings.data_dir)
        uri = await mongod.start()
        stack.push_async_callback(mongod.stop)
        await stack.enter_async_context(background(asyncio.create_task(mongod.watch())))
        yield _with_uri(settings, uri)


def _with_uri(settings: Settings, uri: str) -> Settings:
    mongodb = settings.mongodb.model_copy(update={"uri": uri})
    return settings.model_copy(update={"mongodb": mongodb})

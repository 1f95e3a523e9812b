"""A real mongod for the session, an empty database for each test."""

import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pymongo
import pytest

from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.index.mongod import find_mongod
from hilum.index.writer import Writer
from tests.integration.databases import lent_database, return_all


@pytest.fixture(scope="session")
def mongodb_uri() -> Iterator[str]:
    """Connection string of a mongod that lives as long as the session."""
    # Not in pytest's own folder: its path may be too long for a socket's address.
    with tempfile.TemporaryDirectory(prefix="hilum-test-") as folder:
        socket = Path(folder) / "m.sock"
        log = (Path(folder) / "log").open("wb")
        process = subprocess.Popen(
            [
                str(find_mongod()),
                *("--dbpath", folder, "--bind_ip", str(socket), "--quiet"),
                *("--wiredTigerCacheSizeGB", "0.25"),
                *("--setParameter", "diagnosticDataCollectionEnabled=false"),
                # Once a minute it would delete what tests have made old.
                *("--setParameter", "ttlMonitorEnabled=false"),
            ],
            stdout=log,
            stderr=log,
        )
        uri = f"mongodb://{str(socket).replace('/', '%2F')}/?directConnection=true"
        try:
            with pymongo.MongoClient(uri, serverSelectionTimeoutMS=30_000) as client:
                client.admin.command("ping")
            yield uri
        finally:
            return_all(uri)
            process.terminate()
            process.wait(30)
            log.close()


@pytest.fixture
async def database(mongodb_uri: str) -> AsyncIterator[Database]:
    """An empty database with its indexes and views."""
    with lent_database(mongodb_uri) as name:
        database = Database.connect(mongodb_uri, name)
        await database.ensure_schema()
        yield database
        database.close()


@pytest.fixture
def writer(database: Database) -> Writer:
    return Writer(database)


@pytest.fixture
def catalogue(database: Database) -> Catalogue:
    return Catalogue(database)

"""Empty databases, lent to one test after another.

Making one, with some eighty indexes, costs MongoDB more than most tests do, and dropping it as
much again. So what comes back is emptied and lent once more, unless it is not in form.
"""

import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from pymongo.database import Database as Raw

from hilum.index.schema import INDEXES

#: So many rest before one is lent again: who had it may still be at a last write.
_RESTING = 4


class Databases:
    """Those of one server."""

    def __init__(self, uri: str) -> None:
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(uri)
        self._resting: deque[str] = deque()

    @contextmanager
    def lent(self) -> Iterator[str]:
        """Lend a database by its name; have its schema ensured before anything else."""
        name = self._emptied() or f"test_{secrets.token_hex(6)}"
        yield name
        self._resting.append(name)

    def _emptied(self) -> str | None:
        while len(self._resting) > _RESTING:
            name = self._resting.popleft()
            if _is_emptied(self._client[name]):
                return name
            self._client.drop_database(name)
        return None

    def close(self) -> None:
        self._client.close()


def _is_emptied(database: "Raw[dict[str, Any]]") -> bool:
    """Remove all documents, unless a test has changed more than these."""
    found = {each["name"]: each["type"] for each in database.list_collections()}
    views = [name for name, kind in found.items() if kind == "view"]
    collections = found.keys() - set(views)
    indexes = sum(1 + len(INDEXES.get(name, ())) for name in collections)
    if views != ["frames"] or database.command("dbStats")["indexes"] != indexes:
        return False
    for name in collections - {"system.views"}:
        if database[name].delete_many({}).deleted_count:
            # Nor is it to be known how what was there was best found.
            database.command("planCacheClear", name)
    return True


_SERVERS: dict[str, Databases] = {}


@contextmanager
def lent_database(uri: str) -> Iterator[str]:
    """Lend a database of a server; `return_all` closes what that takes."""
    databases = _SERVERS.get(uri) or _SERVERS.setdefault(uri, Databases(uri))
    with databases.lent() as name:
        yield name


def return_all(uri: str) -> None:
    """Have nothing open to a server any more."""
    if databases := _SERVERS.pop(uri, None):
        databases.close()

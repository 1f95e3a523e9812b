"""An interrupted deletion is taken up while the same instances are stored again.

Each side is held at each of its steps while the other goes on, in both orders. Whatever the
order, what was acknowledged is whole in the end, and what the trash says it has can be had back.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import IndexUnavailable
from hilum.index.database import Database
from hilum.index.remover import Remover
from hilum.services.deletion import Deletion
from hilum.storage.local import LocalStore
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node
from tests.integration.test_dicomweb_delete import DyingRemover, DyingStore, Interrupted, studies
from tests.integration.test_dicomweb_stow import digests, encoded, part, related, sha256, store
from tests.integration.test_trash import kept, notes, restore, trash, trash_of

Step = tuple[str, str]

#: Of who takes a deletion up, in their order; documents are gone before.
TAKING_UP: tuple[Step, ...] = (
    ("before", "index.remover:Remover.settle"),
    ("before", "storage.local:LocalStore.discard"),
    ("before", "index.remover:Remover.wanted"),  # the files are on their way
    ("after", "index.remover:Remover.wanted"),  # what is wanted is decided
    ("after", "storage.local:_move"),  # of two files one is in the trash
    ("before", "index.remover:Remover.finish"),
    ("before", "index.trash:TrashNotes.close"),
)
#: Of a store of the same, in their order.
STORING: tuple[Step, ...] = (
    ("before", "storage.local:LocalStore.put"),
    ("after", "storage.local:LocalStore.put"),
    ("after", "index.instance_writer:InstanceWriter.write"),
    ("after", "index.writer:Writer.write"),
    ("before", "services.promotion:Promotion._release"),
    ("after", "storage.local:LocalStore.contains"),
)


class Halt:
    """Where the first who comes by waits until he is let go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._first = True

    async def come_by(self) -> None:
        if self._is_first():
            await asyncio.to_thread(self.go_on.wait, 30)

    def come_by_in_thread(self) -> None:
        if self._is_first():
            self.go_on.wait(30)

    def _is_first(self) -> bool:
        first, self._first = self._first, False
        if first:
            self.reached.set()
        return first


@contextmanager
def halted(step: Step) -> Iterator[Halt]:
    """Have whoever comes to a step first wait there."""
    when, place = step
    module, _, names = place.partition(":")
    owner: Any = import_module(f"hilum.{module}")
    *containers, name = names.split(".")
    for each in containers:
        owner = getattr(owner, each)
    real = getattr(owner, name)
    halt = Halt()

    async def coroutine(*arguments: Any, **options: Any) -> Any:
        if when == "before":
            await halt.come_by()
        result = await real(*arguments, **options)
        if when == "after":
            await halt.come_by()
        return result

    def function(*arguments: Any, **options: Any) -> Any:
        if when == "before":
            halt.come_by_in_thread()
        result = real(*arguments, **options)
        if when == "after":
            halt.come_by_in_thread()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, coroutine if inspect.iscoroutinefunction(real) else function)
        try:
            yield halt
        finally:
            halt.go_on.set()


@asynccontextmanager
async def begun(work: Callable[[], Any], step: Step) -> AsyncIterator["Begun"]:
    """Have some work come to a step and wait there; if it does not come there, to its end."""
    with halted(step) as halt:
        task = asyncio.create_task(work())
        while not (halt.reached.is_set() or task.done()):  # noqa: ASYNC110 - perhaps in a thread
            await asyncio.sleep(0.001)
        yield Begun(halt, task)


class Begun:
    def __init__(self, halt: Halt, task: "asyncio.Task[Any]") -> None:
        self.halt = halt
        self._task = task

    async def ended(self) -> Any:
        self.halt.go_on.set()
        return await self._task


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path, allow_delete=True, keep_deleted=True) as node:
        yield node


class Interruption:
    """A study that is stored and whose deletion is interrupted."""

    def __init__(self, node: HttpNode, database: Database, number: int) -> None:
        self.node = node
        self.study = uid(number)
        self.contents = [encoded(ct(each, study=number, size=8)) for each in (1, 2)]
        self._database = database

    async def begin(self, death: str) -> "Interruption":
        deletion = self.node.services.deletion
        assert deletion is not None
        await self.store()
        over_bytes = death == "over the bytes"
        dying = Deletion(
            Remover(self._database) if over_bytes else DyingRemover(self._database),
            (DyingStore if over_bytes else LocalStore)(self.node.data_dir / "objects"),
            deletion._crossing,
            trash=trash_of(self._database, self.node.data_dir),
        )
        with pytest.raises((Interrupted, IndexUnavailable)):
            await dying.delete(self.study)
        found = self._database.instances.count_documents({"StudyInstanceUID": self.study})
        assert await found == 0
        return self

    async def store(self) -> None:
        status, _ = await store(self.node, related(*map(part, self.contents)))
        assert status == 200

    async def take_up(self) -> None:
        assert self.node.services.deletion is not None
        assert await self.node.services.deletion.resume(older_than_seconds=0) == 1

    async def is_whole(self) -> None:
        """Hold that it is there, and what is in the trash of it can be had back."""
        await self._is_there()
        for entry in await trash(self.node):
            assert entry["state"] == "kept"
            assert (await restore(self.node, entry["id"]))[0] == 200
        await self._is_there()
        assert await trash(self.node) == []
        assert (kept(self.node), await notes(self._database)) == (set(), [0, 0])
        assert not list((self.node.data_dir / "objects" / ".discarded").iterdir())
        assert (self.node.spooled, self.node.quarantined) == ([], [])

    async def _is_there(self) -> None:
        assert (await studies(self.node))[self.study] == (1, 2)
        assert sha256(*self.contents) <= digests(self.node)
        found = self._database.instances.find({"StudyInstanceUID": self.study})
        assert {each["blob"]["digest"] async for each in found} == sha256(*self.contents)


DEATHS = ("over the bytes", "before it counted")


@pytest.mark.parametrize("death", DEATHS)
async def test_one_is_held_at_any_step_and_the_other_comes_and_goes(
    node: HttpNode, database: Database, death: str
) -> None:
    for number, step in enumerate(TAKING_UP):
        case = await Interruption(node, database, number).begin(death)
        async with begun(case.take_up, step) as taking_up:
            assert taking_up.halt.reached.is_set(), step
            await case.store()
            await taking_up.ended()
        await case.is_whole()
    for number, step in enumerate(STORING, len(TAKING_UP)):
        case = await Interruption(node, database, number).begin(death)
        async with begun(case.store, step) as storing:
            assert storing.halt.reached.is_set(), step
            await case.take_up()
            await storing.ended()
        await case.is_whole()


@pytest.mark.parametrize(
    ("first", "death"), [("taking up", "over the bytes"), ("storing", "before it counted")]
)
async def test_both_are_held_and_who_came_first_goes_on_first(
    node: HttpNode, database: Database, first: str, death: str
) -> None:
    for number, steps in enumerate(product(TAKING_UP, STORING)):
        case = await Interruption(node, database, number).begin(death)
        works = [(case.take_up, steps[0]), (case.store, steps[1])]
        if first == "storing":
            works.reverse()
        async with begun(*works[0]) as early, begun(*works[1]) as late:
            await early.ended()
            await late.ended()
        await case.is_whole()

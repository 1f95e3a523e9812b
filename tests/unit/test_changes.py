"""Marks on studies: every process sees those of the others, and none is put twice."""

import os
import subprocess
import sys

from hilum.index.changes import Changes, shared_memory

OTHER_PROCESS = """
import sys
from hilum.index.changes import Changes
Changes(int(sys.argv[1])).put(["1.2.3"])
"""


def test_a_mark_is_seen_by_all_who_share_the_memory_and_by_nobody_else() -> None:
    descriptor = shared_memory()
    here, private = Changes(descriptor), Changes()
    before = here.mark("1.2.3"), here.mark("1.2.4"), private.mark("1.2.3")
    subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(descriptor)], pass_fds=[descriptor], check=True
    )
    assert here.mark("1.2.3") != before[0]
    assert (here.mark("1.2.4"), private.mark("1.2.3")) == before[1:]
    os.close(descriptor)
    assert here.mark("1.2.3") != before[0], "who has the memory keeps it"


def test_every_mark_is_another() -> None:
    changes = Changes()
    seen = set()
    for _ in range(1000):
        changes.put(["1.2", "1.3"])
        seen |= {changes.mark("1.2"), changes.mark("1.3")}
    assert len(seen) == 2000

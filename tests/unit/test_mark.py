"""The mark of a committed file: small, true to what it says, and open to every node."""

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.core.instance import Blob, Origin
from hilum.storage.mark import Mark
from tests.contract.spooling import ORIGIN


def test_a_mark_of_a_calling_ae_title_fits_into_an_inode() -> None:
    mark = Mark(Blob("0" * 64, 1 << 40), Origin("A" * 16, ORIGIN.received_at))
    assert len(bytes(mark)) == 64
    assert Mark.parse(bytes(mark)) == mark


@given(
    source=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    called=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=16),
    received_at=st.datetimes(timezones=st.just(UTC)),
)
def test_marks_survive_any_sender_and_time(source: str, called: str, received_at: datetime) -> None:
    blob = Blob(sha256(source.encode()).hexdigest(), len(source))
    origin = Origin(source, received_at, called_ae_title=called, by_alias=bool(called))
    found = Mark.parse(bytes(Mark(blob, origin)))
    assert found is not None
    assert found.origin.called_ae_title == called
    assert (found.blob, found.origin.received_at) == (blob, received_at)
    assert source.startswith(found.origin.source)
    assert found.origin.source == source or len(source.encode()) > 160


def test_marking_takes_no_more_rights_than_writing() -> None:
    """A node that is not root has to be able to mark what it then makes read-only."""
    if os.getuid() != 0:
        pytest.skip("the other tests run as somebody who is not root")
    code = (
        "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "s = Spool(Path(sys.argv[1])); w = s.create(Origin('CT1', datetime.now(UTC)));"
        "w.write(b'x'); e = w.commit(); print(e.path.suffix, list(s.recover()) == [e])"
    )
    imports = (
        "from pathlib import Path; from datetime import datetime, UTC;"
        "from hilum.core.instance import Origin; from hilum.storage.spool import Spool;"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        command = [sys.executable, "-c", imports + code, folder + "/spool"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [".slot", "True"]

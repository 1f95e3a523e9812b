"""dcmtk's programs as the other side of the conversation, and as the oracle.

Always by absolute path: pynetdicom installs scripts of the same names.
"""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import read_file_meta_info

from tests.nodes import free_port, wait_until

#: dcmtk sends with Nagle's algorithm unless told otherwise.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}

#: The option by which storescu proposes a compressed transfer syntax.
PROPOSALS = {
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
}


@dataclass(frozen=True)
class Ran:
    """What a program did."""

    status: int
    output: str


def run(program: str, *arguments: str | Path, seconds: float = 120) -> Ran:
    """Run one of dcmtk's programs and return its exit status and all it printed."""
    done = subprocess.run(
        [f"/usr/bin/{program}", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode("utf-8", "replace"))


@dataclass(frozen=True)
class Sent:
    """What storescu said of each file: its path and the status it was answered with."""

    statuses: dict[str, str]

    @property
    def acknowledged(self) -> list[Path]:
        return [Path(path) for path, status in self.statuses.items() if status == "Success"]


def parse_storescu(output: str) -> Sent:
    """Read storescu's verbose output; a file without an answer has status ``none``."""
    statuses: dict[str, str] = {}
    current = ""
    for line in output.splitlines():
        if match := re.match(r"I: Sending file: (.*)", line):
            current = match[1]
            statuses[current] = "none"
        elif match := re.match(r"I: Received Store Response \((.*)\)", line):
            statuses[current] = match[1]
    return Sent(statuses)


def storescu(peer: Sequence[str], *arguments: str | Path, seconds: float = 300) -> Sent:
    """Send files or folders (paths) with options (text); a file that fails stops no other."""
    options = [argument for argument in arguments if isinstance(argument, str)]
    paths = [argument for argument in arguments if isinstance(argument, Path)]
    ran = run("storescu", "-v", "-nh", *options, *peer, *paths, seconds=seconds)
    return parse_storescu(ran.output)


@contextlib.contextmanager
def storescp(folder: Path, aet: str = "STORESCP", *arguments: str, port: int = 0) -> Iterator[int]:
    """Run a storage SCP that writes data sets exactly as received; gives its port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    options = ("-q", "+xa", "+B", "+uf", "-aet", aet, "-od", str(folder), *arguments)
    process = subprocess.Popen(["/usr/bin/storescp", *options, str(port)], env=ENVIRONMENT)
    try:
        wait_until(
            lambda: run("echoscu", "127.0.0.1", str(port)).status == 0, what="storescp answers"
        )
        yield port
    finally:
        process.terminate()
        process.wait(10)


def data_set_bytes(path: Path) -> bytes:
    """Return what follows the file meta information of a Part 10 file."""
    content = path.read_bytes()
    assert content[128:132] == b"DICM", f"{path} has no preamble"
    assert content[132:140] == b"\x02\0\0\0UL\x04\0", f"{path} has no group length"
    return content[144 + int.from_bytes(content[140:144], "little") :]


def transfer_syntax(path: Path) -> str:
    return str(read_file_meta_info(path).TransferSyntaxUID)


def dump(path: Path, *keys: str) -> dict[str, str]:
    """Return values by `dcmdump`, as text with padding removed; absent ones are left out.

    Text that it cannot convert is left as it is.

    Parameters
    ----------
    path
        A DICOM file.
    keys
        Keywords or ``gggg,eeee`` of top-level elements.
    """
    # +L prints long values in full, -Un UIDs as numbers, +p where an element is nested,
    # +U8 text as UTF-8: Debian's dcmtk cannot convert from every character set.
    arguments = ["-q", "+L", "-Un", "+p", *(a for key in keys for a in ("+P", key)), str(path)]
    ran = run("dcmdump", "+U8", *arguments)
    output = ran.output if ran.status == 0 else run("dcmdump", *arguments).output
    values: dict[str, str] = {}
    for line in output.splitlines():
        match = re.match(
            r"\(\w{4},\w{4}\) \w\w (?:\[(.*)\]|=?(\S*)|\(no value available\))\s*# +\S+ *\S* (\S+)",
            line,
        )
        if match:
            values[match[3]] = (match[1] if match[1] is not None else match[2] or "").strip(" ")
    return values

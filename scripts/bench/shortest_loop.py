"""The distance to the physical limit: bytes received, hashed, written and synced, no more.

No DICOM, no index: a length and that many bytes in, a file on the disk, one byte back. What
a node takes beyond this is what it does for its users, or waste. It imports little, because
its start is measured as dcmtk's is.
"""

import hashlib
import os
import socket
import sys
from pathlib import Path
from typing import Final

_LENGTH_BYTES: Final = 8
_BUFFER_BYTES: Final = 1 << 20


def receive(connection: socket.socket, folder: Path) -> None:
    """Write what arrives on one connection; every byte is synced before its answer."""
    folder_fd = os.open(folder, os.O_RDONLY)
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    number = 0
    while length := connection.recv(_LENGTH_BYTES, socket.MSG_WAITALL):
        left = int.from_bytes(length, "big")
        digest = hashlib.sha256()
        file = os.open(folder / f"{os.getpid()}-{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        while left:
            size = connection.recv_into(buffer[: min(left, _BUFFER_BYTES)])
            digest.update(buffer[:size])
            os.write(file, buffer[:size])
            left -= size
        os.fsync(file)
        os.close(file)
        os.fsync(folder_fd)
        connection.sendall(digest.digest()[:1])
        number += 1


def serve(listener: socket.socket, folder: Path) -> None:
    """Have a process for each connection, until ended.

    They are not waited for: their processor time can be read as long as nobody does.
    """
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            receive(connection, folder)
            os._exit(0)
        connection.close()


def send(port: int, folder: Path) -> None:
    """Send every file of `folder` on one connection, each after the answer to the last."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path in sorted(folder.iterdir()):
            with path.open("rb") as file:
                length = path.stat().st_size.to_bytes(_LENGTH_BYTES, "big")
                connection.sendall(length, socket.MSG_MORE)
                connection.sendfile(file)
                if not connection.recv(1):
                    raise ConnectionError("the receiver is gone")


if __name__ == "__main__":
    role, number, place = sys.argv[1:]
    if role == "serve":
        serve(socket.socket(fileno=int(number)), Path(place))
    else:
        send(int(number), Path(place))

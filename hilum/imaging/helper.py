"""A helper process: does one piece of work at a time, for as long as its node lives.

Started by `hilum.imaging.workers` as ``python -m hilum.imaging.helper``. It may crash, or
be killed, at any moment; nobody loses more than the piece of work in hand.

Requests come on standard input: a length, then a pickled ``(function, arguments)``.
Answers go where standard output was: a length, a kind, then the result's bytes or an
error's code and message. Answers are no pickles, for what has decoded hostile bytes is
not to be trusted with the node.
"""

import ctypes
import logging
import os
import pickle
import resource
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from hilum.core.errors import HilumError, Unsupported

# Imported for its codecs' sake, that the first picture need not wait for them.
import hilum.imaging.picture  # noqa: F401  # isort: skip

LENGTH: Final = struct.Struct("<I")
READY: Final = b"ready"
RESULT: Final = b"\0"
DOMAIN_ERROR: Final = b"\1"
UNKNOWN_ERROR: Final = b"\2"

_PR_SET_PDEATHSIG: Final = 1
_OOM_SCORE: Final = "500"


def main() -> None:
    """Answer requests until standard input ends."""
    requests, answers = _channels()
    _stay_out_of_the_way(memory_bytes=int(sys.argv[1]))
    _send(answers, READY)
    while request := _receive(requests):
        _send(answers, _answer(request))


def _channels() -> tuple[BinaryIO, BinaryIO]:
    """Return where requests come from and answers go to.

    A codec that prints must not be mistaken for an answer: what standard output was
    becomes a file of its own, and standard output the place where errors go.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(sys.stdin.fileno(), "rb", closefd=False), answers


def _stay_out_of_the_way(memory_bytes: int) -> None:
    """Leave signals to the node, die with it, and bound what a bomb can take."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):
            # Short of memory, the kernel is to take a helper, not the node.
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _receive(requests: BinaryIO) -> bytes:
    """Return the next request; nothing once the node is gone."""
    header = requests.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return b""
    (length,) = LENGTH.unpack(header)
    request = requests.read(length)
    return request if len(request) == length else b""


def _send(answers: BinaryIO, answer: bytes) -> None:
    remaining = memoryview(LENGTH.pack(len(answer)) + answer)
    while remaining:
        remaining = remaining[answers.write(remaining) :]


def _answer(request: bytes) -> bytes:
    try:
        function, arguments = pickle.loads(request)  # noqa: S301 - the node's own words
        return RESULT + (function(*arguments) or b"")
    except HilumError as error:
        return _error(error)
    except MemoryError:
        return _error(Unsupported("the frame needs more memory to decode than allowed"))
    except Exception as error:
        # The node decides what to make of it; a helper's duty is to stay.
        logging.getLogger(__name__).exception("a helper's work failed")
        return UNKNOWN_ERROR + f"{type(error).__name__}: {error}".encode()


def _error(error: HilumError) -> bytes:
    return DOMAIN_ERROR + f"{error.code}\0{error}".encode()


if __name__ == "__main__":
    main()

"""Runs a program that must not outlive its parent: ``python tether.py PARENT PROGRAM ARGS…``.

Started as a script, in an interpreter of its own: it asks the kernel for SIGTERM when the
parent dies, however that happens, and becomes the program. Doing so between fork and exec
in the node itself would run Python in a copy of a process with other threads in it.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent and become the program given."""
    parent, program, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("the parent died before its child was ready")
    os.execv(program, [program, *arguments])  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    main()

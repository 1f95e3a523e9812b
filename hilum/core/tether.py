"""Programs that must not outlive their parent: `tethered` says how to start one.

What is started is this file, as a script, in an interpreter of its own: it asks the kernel for
a signal when the parent dies, however that happens, and becomes the program. Doing so between
fork and exec in the parent itself would run Python in a copy of a process with other threads in
it. Doing so in the program, once that is loaded, would leave seconds in which it outlives its
parent, and holds whatever it inherited: the sockets that the next node wants to listen on.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tethered(end: signal.Signals, *command: str) -> list[str]:
    """Return what to execute for `command` to be told to end when its parent does.

    The parent is the thread that starts it: that must live as long as its process.

    Parameters
    ----------
    end
        The signal that it is sent. There is none where the system is not Linux.
    command
        The path of a program, and its arguments.
    """
    # Isolated and without `site`: it takes a few milliseconds until the kernel knows.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(end)), *command]


def main() -> None:
    """Tie this process to its parent and become the program given."""
    parent, end, program, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(end))
    if os.getppid() != int(parent):
        sys.exit("the parent died before its child was ready")
    try:
        os.execv(program, [program, *arguments])  # noqa: S606 - no shell is what is wanted
    except OSError as error:
        sys.exit(f"cannot run {program}: {error.strerror}")


if __name__ == "__main__":
    main()

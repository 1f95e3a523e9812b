"""Signals: which of them end a process, how, and what a second one does."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: Whoever runs the tests may ignore signals, by `nohup` for instance, and what he starts does too.
_HEEDING = ("env", "--default-signal=HUP,INT,TERM")
#: Takes until it is told so to leave, and says where it is.
PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from hilum.lifetime import run_until_told

@asynccontextmanager
async def running():
    yield
    print("leaving", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print("left", flush=True)

def ready():
    print("ready", flush=True)

asyncio.run(run_until_told(running(), ready, patient="patient" in sys.argv))
"""


class Process:
    def __init__(self, *arguments: str, before: tuple[str, ...] = _HEEDING) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def says(self, word: str) -> None:
        assert self._process.stdout is not None
        # What is logged goes the same way.
        assert word in (line.strip() for line in self._process.stdout)

    def told(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def leaves(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.says("left")
        return self.ends()

    def ends(self) -> int:
        self._process.communicate(timeout=30)
        return self._process.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_has_it_leave_and_a_second_one_does_not_wait(number: signal.Signals) -> None:
    process = Process()
    process.says("ready")
    process.told(number)
    process.says("leaving")
    assert process.leaves() == 0
    process = Process()
    process.says("ready")
    process.told(number)
    process.says("leaving")
    process.told(signal.SIGTERM)
    assert process.ends() == -signal.SIGTERM


def test_a_patient_one_leaves_however_often_it_is_told() -> None:
    process = Process("patient")
    process.says("ready")
    process.told(signal.SIGTERM)
    process.says("leaving")
    process.told(signal.SIGTERM)
    process.told(signal.SIGINT)
    assert process.leaves() == 0


def test_who_ignores_that_the_terminal_is_gone_goes_on() -> None:
    process = Process(before=("nohup",))
    process.says("ready")
    process.told(signal.SIGHUP)
    process.told(signal.SIGTERM)
    process.says("leaving")
    # It would have been the second signal.
    assert process.leaves() == 0


def test_ctrl_c_while_it_is_loaded_prints_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(
        "import time\nprint('loading', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", "import runpy; runpy.run_module('hilum', run_name='__main__')"],
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (-signal.SIGINT, "")

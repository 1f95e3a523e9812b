"""How many passwords may be tried, by a clock of the test's own."""

import tracemalloc
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from hilum.http.attempts import MOST_GUESSES, WINDOW_SECONDS, Attempts
from hilum.http.client_address import client_address
from hilum.http.dicomweb.urls import TRUSTED_PROXIES, trusted_networks

HOME = "192.0.2.7"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("hilum.http.attempts.monotonic", lambda: clock.now)
    return clock


def guess(attempts: Attempts, count: int, address: str = HOME, name: str = "backend") -> list[bool]:
    return [attempts.note(address, name, f"guess {number}") for number in range(count)]


def test_who_has_guessed_so_often_waits_until_the_minute_is_over(clock: SimpleNamespace) -> None:
    attempts = Attempts()
    assert guess(attempts, MOST_GUESSES - 1) == [False] * (MOST_GUESSES - 1)
    assert attempts.seconds_to_wait(HOME, "backend") == 0
    clock.now += 20
    assert attempts.note(HOME, "backend", "the last one")
    assert attempts.seconds_to_wait(HOME, "backend") == WINDOW_SECONDS - 20
    clock.now += WINDOW_SECONDS - 20 - 0.5
    assert attempts.seconds_to_wait(HOME, "backend") == 0.5
    clock.now += 0.5
    assert attempts.seconds_to_wait(HOME, "backend") == 0
    # And then from the start.
    assert guess(attempts, MOST_GUESSES - 1) == [False] * (MOST_GUESSES - 1)


def test_others_do_not_wait(clock: SimpleNamespace) -> None:
    attempts = Attempts()
    guess(attempts, MOST_GUESSES)
    assert attempts.seconds_to_wait(HOME, "backend") > 0
    assert attempts.seconds_to_wait("192.0.2.8", "backend") == 0
    assert attempts.seconds_to_wait(HOME, "viewer") == 0


def test_an_old_password_said_all_day_is_one_guess(clock: SimpleNamespace) -> None:
    attempts = Attempts()
    for _ in range(1000):
        assert not attempts.note(HOME, "backend", "last year's")
    assert attempts.seconds_to_wait(HOME, "backend") == 0


def test_it_is_told_once_that_somebody_has_to_wait(clock: SimpleNamespace) -> None:
    # Requests that came side by side are answered although the first of them was the last.
    assert guess(Attempts(), MOST_GUESSES).count(True) == 1


def test_a_flood_of_names_takes_no_more_memory_and_frees_nobody(clock: SimpleNamespace) -> None:
    attempts = Attempts()
    guess(attempts, MOST_GUESSES)
    tracemalloc.start()
    try:
        for number in range(9_000):
            attempts.note(HOME, f"{number}" * 100, "x" * 100)
        assert attempts.seconds_to_wait(HOME, "backend") > 0
        for number in range(9_000, 15_000):
            attempts.note(HOME, f"{number}", "x")
        assert tracemalloc.get_traced_memory()[0] < 8 << 20
        clock.now += WINDOW_SECONDS
        attempts.seconds_to_wait(HOME, "backend")
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("remote", "told", "client"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),  # nobody's proxy
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # 1.2.3.4: its own invention
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", None, "2001:db8:1:2::/64"),
    ],
)
def test_the_client_is_the_last_who_is_no_trusted_proxy(
    remote: str, told: str | None, client: str
) -> None:
    app = web.Application()
    app[TRUSTED_PROXIES] = trusted_networks(["10.0.0.0/8"])
    headers = {} if told is None else {"X-Forwarded-For": told}
    request = make_mocked_request("GET", "/", headers=headers, app=app).clone(remote=remote)
    assert client_address(request) == client

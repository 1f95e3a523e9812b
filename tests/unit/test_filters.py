"""Wildcard patterns as regular expressions, against a matcher of a few plain lines."""

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from hilum.index.filters import wildcard_pattern


def matches(pattern: str, text: str) -> bool:
    """PS3.4 C.2.2.2.4, by trying everything."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches(pattern[1:], text[i:]) for i in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and matches(pattern[1:], text[1:])


@given(st.text("ab.*?^\n", max_size=7), st.text("ab.^\n", max_size=8))
def test_a_pattern_matches_what_the_standard_says(pattern: str, text: str) -> None:
    found = re.search(wildcard_pattern(pattern, r"\Z"), text, re.DOTALL)
    assert bool(found) == matches(pattern, text)


@given(st.text("ab*?^", max_size=6), st.text("ab^", max_size=6))
def test_a_name_pattern_may_leave_out_trailing_components(pattern: str, text: str) -> None:
    group = text.rstrip("^")
    found = re.search(wildcard_pattern(pattern.rstrip("^"), r"\^*\Z"), group + "^^^")
    wanted = any(matches(pattern.rstrip("^"), group + "^" * n) for n in range(4))
    assert bool(found) == wanted


def test_a_literal_beginning_stays_in_front_for_the_index() -> None:
    assert wildcard_pattern("smith*") == "^smith"
    assert wildcard_pattern("smith^j*").startswith(r"^smith\^j")


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    begin = time.thread_time()
    assert not re.search(wildcard_pattern("*a" * 40 + "*b"), "a" * 2000)
    assert time.thread_time() - begin < 1

"""Dates and times: each value is a span, whatever precision it was written with."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.core.errors import Invalid
from hilum.core.temporal import date_span, date_time_span, split_range, time_span


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("20240229", "20240229", "20240229"),
        ("1993.08.22", "19930822", "19930822"),
        ("202402", "20240201", "20240231"),
        ("2024", "20240101", "20241231"),
    ],
)
def test_a_date_is_its_days(text: str, first: str, last: str) -> None:
    assert date_span(text) == (first, last)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10", "100000.000000", "105960.999999"),
        ("1027", "102700.000000", "102760.999999"),
        ("102758", "102758.000000", "102758.999999"),
        ("102758.25", "102758.250000", "102758.259999"),
        ("10:27:58", "102758.000000", "102758.999999"),
        ("235960", "235960.000000", "235960.999999"),
    ],
)
def test_a_time_is_its_moments(text: str, first: str, last: str) -> None:
    assert time_span(text) == (first, last)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("20240229102758.5", "20240229102758.500000", "20240229102758.599999"),
        ("2024", "20240101000000.000000", "20241231235960.999999"),
        ("20240229102758.123456+0100", "20240229102758.123456", "20240229102758.123456"),
        ("20240229-0500", "20240229000000.000000", "20240229235960.999999"),
    ],
)
def test_a_date_time_is_its_moments(text: str, first: str, last: str) -> None:
    assert date_time_span(text) == (first, last)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (date_span, "2024*"),
        (date_span, "20241301"),
        (date_span, "20240132"),
        (date_span, "today"),
        (date_span, "2024-01-01"),
        (date_span, "٢٠٢٤٠١٠١"),
        (time_span, "2400"),
        (time_span, "1060"),
        (time_span, "10275"),
        (date_time_span, "20240229+1500"),
    ],
)
def test_what_is_no_date_or_time_is_refused(read, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Invalid):
        read(text)


@given(st.dates(), st.dates())
def test_spans_sort_as_the_days_do(one: date, other: date) -> None:
    spans = [date_span(f"{day:%Y}".zfill(4) + f"{day:%m%d}") for day in (one, other)]
    assert (spans[0] < spans[1]) == (one < other)


@given(st.dates(min_value=date(1, 1, 1), max_value=date(9999, 12, 30)))
def test_a_month_has_its_days_and_no_others(day: date) -> None:
    month = f"{day.year:04}{day.month:02}"
    span = date_span(month)
    next_day = day + timedelta(days=1)
    assert span.first <= f"{month}{day.day:02}" <= span.last
    inside = span.first <= f"{next_day.year:04}{next_day.month:02}{next_day.day:02}" <= span.last
    assert inside == (next_day.month == day.month)


@pytest.mark.parametrize(
    ("vr", "text", "ends"),
    [
        ("DA", "20240101-20240131", ("20240101", "20240131")),
        ("DA", "20240101 - ", ("20240101", "")),
        ("DA", "-20240131", ("", "20240131")),
        ("DA", "20240101", None),
        ("TM", "1000-1100", ("1000", "1100")),
        ("DT", "20240101-20240131", ("20240101", "20240131")),
        ("DT", "20240101120000-0500", None),
        ("DT", "20240101120000-0500-", ("20240101120000-0500", "")),
        ("DT", "-20240101120000-0500", ("", "20240101120000-0500")),
        (
            "DT",
            "20240101120000-0500-20240102120000-0500",
            ("20240101120000-0500", "20240102120000-0500"),
        ),
    ],
)
def test_the_hyphen_of_a_range_is_told_from_that_of_an_offset(
    vr: str, text: str, ends: tuple[str, str] | None
) -> None:
    assert split_range(vr, text) == ends

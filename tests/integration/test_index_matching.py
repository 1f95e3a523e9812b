"""Matching against matchers of a few plain lines that know nothing of MongoDB.

The corpus is stored once; Hypothesis makes up the keys.
"""

import unicodedata
from datetime import date

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.valuerep import PersonName

from hilum.core.levels import Level
from hilum.core.qido_query import parse_qido
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.writer import Writer
from tests.integration.objects import instance

NAMES = [
    "Smith",
    "Smith^John",
    "SMITH^JOHN^^DR",
    "Smith-Jones^Ann^B",
    "Smythe^J",
    "Müller^Jürgen",
    "MULLER^JURGEN",
    "Фёдоров^Андрей",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Tanaka^Hanako=田中^花子",
    "=山口^太郎",
    "O'Neill^Se*n",
    "von der Tann^M",
    "Ng",
    "",
]
DESCRIPTIONS = ["CT Head", "ct head", "Head, neck", "A.B", "A*B", "x", "Schädel", "[1-3]", ""]
DATES = ["20231231", "20240101", "20240115", "20240229", "20240301", "19991231", ""]
TIMES = ["00", "0000", "093015", "093015.5", "0930", "235959.999999", "12", ""]

pytestmark = pytest.mark.usefixtures("stored")
lenient = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
async def stored(database: Database) -> None:
    """One study for each value; its UID ends in the value's place."""
    columns = {
        "PatientName": NAMES,
        "StudyDescription": DESCRIPTIONS,
        "StudyDate": DATES,
        "StudyTime": TIMES,
    }
    objects = [
        instance(f"{n}.{i}.1", study=f"{n}.{i}", series=f"{n}.{i}.0", **{keyword: text})
        for n, (keyword, texts) in enumerate(columns.items(), 1)
        for i, text in enumerate(texts)
    ]
    await Writer(database).write([Write(each) for each in objects])


async def found(catalogue: Catalogue, column: int, keyword: str, key: str) -> set[int]:
    """Return the places of the values in the column that the key finds."""
    query = parse_qido(Level.STUDY, [(keyword, key)])
    uids = [m.attributes["0020000D"]["Value"][0] async for m in catalogue.find(query)]
    return {int(uid.split(".")[1]) for uid in uids if uid.split(".")[0] == str(column)}


def keys_from(values: list[str], *wild: str) -> st.SearchStrategy[str]:
    """Return keys made of the values: cut, glued, in another case, and with wildcards."""
    piece = st.sampled_from([value for value in values if value]).flatmap(
        lambda value: st.tuples(st.integers(0, len(value)), st.integers(0, len(value))).map(
            lambda ends: value[min(ends) : max(ends)]
        )
    )
    whole = st.sampled_from(values)
    parts = st.one_of(whole, piece, st.sampled_from(wild), piece.map(str.upper))
    return st.lists(parts, min_size=1, max_size=4).map("".join)


def glob(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(glob(pattern[1:], text[i:]) for i in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and glob(pattern[1:], text[1:])


def plain(text: str) -> str:
    """Compare as PS3.4 C.2.2.2.1 lets names be compared; enough for the names above."""
    kana = "\u3099\u309a"
    decomposed = unicodedata.normalize("NFD", text.casefold())
    kept = [c for c in decomposed if unicodedata.category(c) != "Mn" or c in kana]
    return unicodedata.normalize("NFC", "".join(kept))


def group_matches(key: str, group: str) -> bool:
    components = [" ".join(part.split()) for part in plain(key).split("^")]
    pattern = "^".join(components).rstrip("^")
    if not group:
        return False
    value = plain(group).rstrip("^")
    # A key and a value may both leave out trailing components.
    return any(glob(pattern, value + "^" * n) for n in range(5))


def name_matches(key: str, name: str) -> bool:
    groups = key.split("=")[:3]
    stored = [*str(PersonName(name)).split("="), "", ""][:3]
    if not any(group.strip("*^ ") for group in groups):
        return True
    if len(groups) == 1:
        return any(group_matches(key, each) for each in stored)
    return all(
        group_matches(group, each)
        for group, each in zip(groups, stored, strict=False)
        if group.strip("*^ ")
    )


@lenient
@given(keys_from(NAMES, "*", "?", "^", "="))
@example("smith")
@example("smith^*")
@example("*^john")
@example("=*太郎")
@example("yamada^tarou=山田^太郎=やまだ^たろう")
async def test_names(catalogue: Catalogue, key: str) -> None:
    wanted = {i for i, name in enumerate(NAMES) if name_matches(key, name)}
    assert await found(catalogue, 1, "PatientName", key) == wanted


@lenient
@given(keys_from([*DESCRIPTIONS, "CT"], "*", "?"))
@example("*")
@example("[1-3]")
async def test_text(catalogue: Catalogue, key: str) -> None:
    key = key.strip()
    everything = not key.strip("*")
    wanted = {i for i, text in enumerate(DESCRIPTIONS) if everything or (text and glob(key, text))}
    assert await found(catalogue, 2, "StudyDescription", key) == wanted


days = st.dates(date(1999, 12, 30), date(2024, 3, 3)) | st.sampled_from(
    [date.fromisoformat(text) for text in DATES if text]
)


@lenient
@given(st.none() | days, st.none() | days)
async def test_date_ranges(catalogue: Catalogue, first: date | None, last: date | None) -> None:
    key = "-".join(f"{day:%Y%m%d}" if day else "" for day in (first, last))
    wanted = {
        i
        for i, text in enumerate(DATES)
        if (not first and not last)
        or (
            text
            and (not first or first <= date.fromisoformat(text))
            and (not last or date.fromisoformat(text) <= last)
        )
    }
    assert await found(catalogue, 3, "StudyDate", key) == wanted


def microseconds(text: str, fill: str) -> int:
    """Return the first (fill 0) or last (fill 9) moment of a TM value since midnight."""
    clock, _, fraction = text.partition(".")
    ends = {"0": ("00", "00", "00"), "9": ("23", "59", "59")}[fill]
    hours, minutes, seconds = (int(clock[2 * i : 2 * i + 2] or ends[i]) for i in range(3))
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + int(fraction.ljust(6, fill))


clocks = st.one_of(
    st.sampled_from([text for text in TIMES if text]),
    st.times().map(lambda t: f"{t:%H%M%S.%f}"),
    st.times().map(lambda t: f"{t:%H%M}"),
)


@lenient
@given(st.just("") | clocks, st.just("") | clocks)
async def test_time_ranges(catalogue: Catalogue, first: str, last: str) -> None:
    wanted = {
        i
        for i, text in enumerate(TIMES)
        if not (first or last)
        or (
            text
            and (not first or microseconds(first, "0") <= microseconds(text, "0"))
            and (not last or microseconds(text, "0") <= microseconds(last, "9"))
        )
    }
    assert await found(catalogue, 4, "StudyTime", f"{first}-{last}") == wanted

"""Parameters of frames and lists: what is read, and what is refused with which words."""

import re

import pytest
from multidict import MultiDict

from hilum.core.errors import Invalid
from hilum.core.levels import Level
from hilum.core.query import Condition, Exact, PersonName, Range, Wildcard
from hilum.http.frames import parse_rendering
from hilum.http.studies import parse_study_query
from hilum.imaging.render import Rendering


def test_without_parameters_the_file_decides() -> None:
    assert parse_rendering(MultiDict({"v": "7", "center": "", "width": ""})) == Rendering()


def test_a_window_a_size_and_an_inversion_are_read() -> None:
    query = MultiDict({"center": "-40.5", "width": "4e2", "size": "128", "invert": "true"})
    assert parse_rendering(query) == Rendering(center=-40.5, width=400.0, invert=True, size=128)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"center": "40"}, "center and width go together"),
        ({"width": "40"}, "center and width go together"),
        ({"center": "nan", "width": "1"}, "center must be a number"),
        ({"center": "0", "width": "inf"}, "width must be a number"),
        ({"center": "x", "width": "1"}, "center must be a number, not 'x'"),
        ({"center": "0", "width": "0.5"}, "width must be 1 or more"),
        ({"center": "0", "width": "-5"}, "width must be 1 or more"),
        ({"size": "15"}, "size must be a whole number from 16 to 8192"),
        ({"size": "8193"}, "size must be a whole number from 16 to 8192"),
        ({"size": "1e3"}, "size must be a whole number"),
        ({"size": "9" * 5000}, "size must be a whole number"),
        ({"size": "٦٤"}, "size must be a whole number"),
        ({"invert": "yes"}, "invert must be true or false"),
    ],
)
def test_what_cannot_be_meant_is_refused(query: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid, match=re.escape(words)):
        parse_rendering(MultiDict(query))


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="size is given 2 times"):
        parse_rendering(MultiDict([("size", "64"), ("size", "65")]))


def test_filters_of_the_list_become_conditions() -> None:
    query = parse_study_query(
        MultiDict(
            {
                "patientID": "A*",
                "patientName": "mül",
                "modality": "CT",
                "studyDate": "20240101-20240131",
                "search": "knee left",
                "limit": "10",
                "offset": "20",
            }
        )
    )
    assert query.level is Level.STUDY
    assert (query.text, query.limit, query.offset) == ("knee left", 10, 20)
    assert set(query.conditions) == {
        Condition("PatientID", Wildcard("A*")),
        Condition("PatientName", PersonName(("mul",), fuzzy=True)),
        Condition("ModalitiesInStudy", Exact("CT")),
        Condition("StudyDate", Range("20240101", "20240131")),
    }


@pytest.mark.parametrize("query", [{}, {"patientName": "*"}, {"studyDate": "-"}, {"modality": ""}])
def test_empty_filters_find_everything(query: dict[str, str]) -> None:
    found = parse_study_query(MultiDict(query))
    assert (found.conditions, found.text, found.limit, found.offset) == ((), None, 50, 0)


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "1001"}, {"offset": "-1"}, {"studyDate": "yesterday"}],
)
def test_a_faulty_filter_is_refused(query: dict[str, str]) -> None:
    (name,) = query
    with pytest.raises(Invalid, match=f"(?i){name}"):
        parse_study_query(MultiDict(query))

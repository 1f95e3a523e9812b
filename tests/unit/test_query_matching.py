"""What the index keeps of values, and keys that are no keys."""

import pytest

from hilum.core.errors import Invalid
from hilum.core.matching import matching_of, search_values


@pytest.mark.parametrize(
    ("keyword", "values", "kept"),
    [
        ("PatientID", [" A-17 ", None], ["A-17"]),
        ("StudyDate", ["2004.01.19", "no date", "20240229"], ["20040119", "20240229"]),
        ("StudyTime", ["10", "102758.5"], ["100000.000000", "102758.500000"]),
        ("SeriesNumber", [3, "4", "five", 10**30], [3, 4]),
        ("SliceThickness", ["1.50", 2], [1.5, 2.0]),
        ("Rows", [512], [512]),
        ("ImageType", ["ORIGINAL", "", "AXIAL"], ["ORIGINAL", "AXIAL"]),
        (
            "PhysiciansOfRecord",
            [{"Alphabetic": "Doe^J"}, {"Ideographic": "山田"}, "not a name"],
            ["doe^j^^^", "", "", "", "山田^^^^", ""],
        ),
        (
            "RequestAttributesSequence",
            [
                {
                    "00400009": {"vr": "SH", "Value": ["S1"]},
                    "00400008": {"vr": "SQ", "Value": [{}]},
                    "00321060": {"vr": "LO"},
                    "00091001": {"vr": "LO", "Value": ["private"]},
                },
                None,
            ],
            [{"ScheduledProcedureStepID": ["S1"]}, {}],
        ),
    ],
)
def test_values_are_kept_in_the_form_they_are_matched_in(
    keyword: str, values: list[object], kept: list[object]
) -> None:
    assert search_values(keyword, {"Value": values}) == kept


def test_an_element_without_value_is_not_matched() -> None:
    assert search_values("PatientID", {"vr": "LO"}) == []


@pytest.mark.parametrize("values", [[], [""], ["*"], ["CT", "**"], [" \0"]])
def test_keys_that_match_everything(values: list[str]) -> None:
    assert matching_of("ModalitiesInStudy", values) is None


def test_a_key_longer_than_any_value_is_refused() -> None:
    with pytest.raises(Invalid, match="5000 characters"):
        matching_of("StudyDescription", ["x" * 5000])

"""Rules of routing: what they hold for."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.core.routing import Moment, Rule

CT = {
    "modality": "CT",
    "station_name": "CT-EAST-1",
    "study_description": "CT Schädel nativ",
    "calling_ae_title": "SCANNER_1",
}


def rule(**conditions: tuple[str, ...]) -> Rule:
    return Rule("rule", Moment.ARRIVAL, ("ARCHIVE",), conditions)


def test_a_rule_without_conditions_holds_for_everything() -> None:
    assert rule().holds_for(CT)
    assert rule().holds_for({})


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({"modality": ("CT",)}, True),
        ({"modality": ("MR", "CT")}, True),
        ({"modality": ("MR",)}, False),
        ({"modality": ("C",)}, False),
        ({"modality": ("CT",), "station_name": ("CT-EAST-?",)}, True),
        ({"modality": ("CT",), "station_name": ("CT-WEST-?",)}, False),
        ({"study_description": ("*schadel*",)}, True),
        ({"study_description": ("*SCHÄDEL*",)}, True),
        ({"study_description": ("ct*nativ",)}, True),
        ({"study_description": ("nativ",)}, False),
        ({"calling_ae_title": ("scanner_?",)}, True),
        ({"calling_ae_title": ("scanner_??",)}, False),
        ({"series_description": ("*a*",)}, False),
        ({"station_name": ("[C]T*",)}, False),
    ],
)
def test_every_condition_must_hold_by_one_of_its_patterns(
    conditions: Mapping[str, tuple[str, ...]], holds: bool
) -> None:
    assert rule(**conditions).holds_for(CT) is holds


def test_what_was_copied_from_another_archive_has_to_be_asked_for() -> None:
    copied = {**CT, "source": "migration"}
    assert not rule().holds_for(copied)
    assert not rule(modality=("CT",)).holds_for(copied)
    assert rule(modality=("CT",), source=("migration",)).holds_for(copied)
    assert not rule(source=("http", "dicom")).holds_for(copied)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern matches, letter by letter."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in {"?", text[0]} and matches(pattern[1:], text[1:])


@given(st.text("ab[]!*?-", max_size=8), st.text("ab[]!-", max_size=8))
def test_wildcards_are_star_and_question_mark_and_no_others(pattern: str, text: str) -> None:
    assert rule(modality=(pattern,)).holds_for({"modality": text}) is matches(pattern, text)


@given(
    st.dictionaries(
        st.sampled_from(["modality", "station_name", "source"]),
        st.lists(st.text("ab*", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple),
    ),
    st.fixed_dictionaries(
        {trait: st.text("ab", max_size=3) for trait in ("modality", "station_name", "source")}
    ),
)
def test_conditions_are_all_and_patterns_any(
    conditions: dict[str, tuple[str, ...]], traits: dict[str, str]
) -> None:
    expected = all(
        any(matches(pattern, traits[trait]) for pattern in patterns)
        for trait, patterns in conditions.items()
    )
    assert rule(**conditions).holds_for(traits) is expected


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not rule(modality=("*a" * 30 + "b",)).holds_for({"modality": "a" * 5000})

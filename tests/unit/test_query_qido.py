"""QIDO-RS parameters."""

import pytest

from hilum.core.errors import Invalid
from hilum.core.levels import Level
from hilum.core.qido_query import parse_qido
from hilum.core.query import AnyOf, Condition, Exact, Items, PersonName, Range, Wildcard


def test_keywords_tags_and_items_are_keys() -> None:
    query = parse_qido(
        Level.SERIES,
        [
            ("00100010", "Müller^*"),
            ("StudyDate", "20240101-20240131"),
            ("SeriesDescription", "A?B*"),
            ("RequestAttributesSequence.ScheduledProcedureStepID", "SPS1"),
            ("00400275.00401001", "RP1"),
        ],
    )
    assert query.conditions == (
        Condition("PatientName", PersonName(("muller^*",))),
        Condition("StudyDate", Range("20240101", "20240131")),
        Condition("SeriesDescription", Wildcard("A?B*")),
        Condition(
            "RequestAttributesSequence",
            Items(
                (
                    Condition("ScheduledProcedureStepID", Exact("SPS1")),
                    Condition("RequestedProcedureID", Exact("RP1")),
                )
            ),
        ),
    )
    assert query.unsupported == ()


@pytest.mark.parametrize("value", ["1.2,1.3", "1.2\\1.3"])
def test_uid_lists_are_separated_by_comma_or_backslash(value: str) -> None:
    query = parse_qido(Level.STUDY, [("StudyInstanceUID", value)])
    assert query.conditions == (Condition("StudyInstanceUID", AnyOf((Exact("1.2"), Exact("1.3")))),)


@pytest.mark.parametrize("values", [["CT", "MR"], ["CT,MR"], ["CT\\MR"]])
def test_a_key_of_several_codes_matches_either(values: list[str]) -> None:
    query = parse_qido(Level.STUDY, [("ModalitiesInStudy", value) for value in values])
    assert query.conditions == (Condition("ModalitiesInStudy", AnyOf((Exact("CT"), Exact("MR")))),)


def test_a_comma_in_a_description_is_a_comma() -> None:
    query = parse_qido(Level.STUDY, [("StudyDescription", "head, neck")])
    assert query.conditions == (Condition("StudyDescription", Exact("head, neck")),)


def test_unknown_keys_are_named_and_no_error() -> None:
    parameters = [("Nonsense", "1"), ("Modality", "CT"), ("00091001", "x"), ("includefield", "Foo")]
    query = parse_qido(Level.STUDY, parameters)
    assert query.unsupported == ("Nonsense", "Modality", "00091001", "Foo")
    assert query.conditions == ()


def test_attributes_of_levels_the_path_names_are_not_repeated() -> None:
    everywhere = parse_qido(Level.IMAGE, [])
    inside = parse_qido(
        Level.IMAGE, [], within={"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3"}
    )
    assert {"PatientName", "StudyDate", "Modality", "Rows"} <= set(everywhere.requested)
    assert not {"PatientName", "StudyDate", "Modality"} & set(inside.requested)
    assert {"StudyInstanceUID", "SeriesInstanceUID", "Rows"} <= set(inside.requested)
    assert inside.conditions == (
        Condition("StudyInstanceUID", Exact("1.2")),
        Condition("SeriesInstanceUID", Exact("1.3")),
    )


def test_includefield_adds_by_name_tag_and_all() -> None:
    query = parse_qido(Level.STUDY, [("includefield", "StudyDescription,00081060")])
    assert {"StudyDescription", "NameOfPhysiciansReadingStudy"} <= set(query.requested)
    everything = parse_qido(Level.STUDY, [("includefield", "all")])
    assert set(query.requested) < set(everything.requested)
    assert len(set(everything.requested)) == len(everything.requested)


def test_paging_and_fuzzy_matching() -> None:
    query = parse_qido(
        Level.STUDY,
        [("limit", "10"), ("offset", "20"), ("fuzzymatching", "true"), ("PatientName", "JO")],
    )
    assert (query.limit, query.offset) == (10, 20)
    assert query.conditions == (Condition("PatientName", PersonName(("jo",), fuzzy=True)),)


@pytest.mark.parametrize(
    "parameter",
    [
        ("limit", "-1"),
        ("limit", "ten"),
        ("offset", "1e3"),
        ("offset", "9" * 5000),
        ("limit", "٣"),
        ("StudyDate", "yesterday"),
    ],
)
def test_values_that_cannot_be_understood_are_invalid(parameter: tuple[str, str]) -> None:
    with pytest.raises(Invalid):
        parse_qido(Level.STUDY, [parameter])

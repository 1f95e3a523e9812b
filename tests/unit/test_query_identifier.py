"""C-FIND and retrieve identifiers, as they come off the wire."""

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from hilum.core.errors import Invalid
from hilum.core.identifier_query import (
    MissingUniqueKey,
    parse_identifier,
    parse_retrieve_identifier,
)
from hilum.core.levels import Level
from hilum.core.query import (
    AnyOf,
    Condition,
    Exact,
    Items,
    Model,
    MomentRange,
    PersonName,
    Query,
    Range,
    Wildcard,
)

STUDY_ROOT, PATIENT_ROOT = Model.STUDY_ROOT, Model.PATIENT_ROOT


def identifier(level: str = "STUDY", **keys: object) -> Dataset:
    dataset = Dataset()
    if level:
        dataset.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return dataset


def implicit(*elements: tuple[int, bytes]) -> Dataset:
    """Return a data set read from implicit VR little endian bytes, padding and all."""
    data = b"".join(
        (tag >> 16).to_bytes(2, "little")
        + (tag & 0xFFFF).to_bytes(2, "little")
        + len(value).to_bytes(4, "little")
        + value
        for tag, value in elements
    )
    return read_dataset(BytesIO(data), is_implicit_VR=True, is_little_endian=True)


def over_the_wire(dataset: Dataset) -> Dataset:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, dataset)
    return read_dataset(BytesIO(buffer.getvalue()), is_implicit_VR=True, is_little_endian=True)


def condition(query: Query, keyword: str) -> object:
    [found] = [each.matching for each in query.conditions if each.keyword == keyword]
    return found


def test_universal_keys_are_returned_and_not_matched() -> None:
    dataset = implicit(
        (0x00080020, b""),
        (0x00080052, b"STUDY "),
        (0x00080061, b"* "),
        (0x00081030, b"**"),
        (0x00100010, b""),
        (0x0020000D, b"* "),
    )
    query = parse_identifier(dataset, STUDY_ROOT)
    assert query.conditions == ()
    assert query.requested == (
        "StudyDate",
        "ModalitiesInStudy",
        "StudyDescription",
        "PatientName",
        "StudyInstanceUID",
    )


def test_level_character_set_and_ae_title_are_no_keys() -> None:
    query = parse_identifier(
        identifier(
            SpecificCharacterSet="ISO_IR 192",
            RetrieveAETitle="HILUM",
            InstanceAvailability="",
            StudyInstanceUID="",
        ),
        STUDY_ROOT,
    )
    assert query.requested == ("StudyInstanceUID",)
    assert query.unsupported == ()


def test_group_lengths_and_file_meta_are_dropped() -> None:
    dataset = implicit(
        (0x00020010, b"1.2.840.10008.1.2\0"),
        (0x00080000, b"\x10\0\0\0"),
        (0x00080052, b"STUDY "),
        (0x0020000D, b""),
    )
    query = parse_identifier(dataset, STUDY_ROOT)
    assert query.requested == ("StudyInstanceUID",)
    assert query.unsupported == ()


def test_keys_the_index_does_not_keep_are_named() -> None:
    dataset = identifier(Modality="CT", PixelPaddingValue=0, NumberOfPatientRelatedStudies="")
    dataset.add_new(0x00091001, "LO", "private")
    query = parse_identifier(dataset, STUDY_ROOT)
    assert set(query.unsupported) == {
        "Modality",
        "PixelPaddingValue",
        "NumberOfPatientRelatedStudies",
        "(0009,1001)",
    }
    assert query.conditions == ()


def test_padding_of_every_kind_is_dropped() -> None:
    dataset = implicit(
        (0x00080020, b"20240101-20240131 "),
        (0x00080050, b" A-17 "),
        (0x00080052, b"SERIES"),
        (0x0020000D, b"1.2.3\0"),
        (0x0020000E, b"1.2.3.4 \\1.2.3.5\0\\"),
        (0x00200011, b" 3"),
    )
    query = parse_identifier(dataset, STUDY_ROOT)
    assert condition(query, "StudyDate") == Range("20240101", "20240131")
    assert condition(query, "AccessionNumber") == Exact("A-17")
    assert condition(query, "StudyInstanceUID") == Exact("1.2.3")
    assert condition(query, "SeriesInstanceUID") == AnyOf((Exact("1.2.3.4"), Exact("1.2.3.5")))
    assert condition(query, "SeriesNumber") == Exact(3)


@pytest.mark.parametrize(
    ("charset", "name", "group"),
    [
        ("ISO_IR 100", "Müller^Jürgen", "muller^jurgen"),
        ("ISO_IR 144", "Люкceмбypг", "люкceмбypг"),
        ("ISO_IR 192", "Фёдор*", "федор*"),
    ],
)
def test_names_are_decoded_by_the_identifiers_own_character_set(
    charset: str, name: str, group: str
) -> None:
    dataset = over_the_wire(identifier(SpecificCharacterSet=charset, PatientName=name))
    assert condition(parse_identifier(dataset, STUDY_ROOT), "PatientName") == PersonName((group,))


def test_code_extensions_are_decoded_group_by_group() -> None:
    # PS3.5 H.3.1, example 1, as bytes.
    name = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
    dataset = implicit(
        (0x00080005, b"\\ISO 2022 IR 87 "), (0x00080052, b"STUDY "), (0x00100010, name + b" ")
    )
    assert condition(parse_identifier(dataset, STUDY_ROOT), "PatientName") == PersonName(
        ("yamada^tarou", "山田^太郎", "やまだ^たろう")
    )


def test_a_hyphen_in_a_name_is_a_hyphen() -> None:
    query = parse_identifier(identifier(PatientName="Smith-Jones^A"), STUDY_ROOT)
    assert condition(query, "PatientName") == PersonName(("smith-jones^a",))


def test_wildcards_count_only_where_the_standard_has_them() -> None:
    dataset = implicit(
        (0x00080018, b"1.2.*\0"),
        (0x00080052, b"IMAGE "),
        (0x00081030, b"CT* "),
        (0x00100020, b"P?"),
        (0x0020000D, b"1.2\0"),
        (0x0020000E, b"1.3\0"),
    )
    query = parse_identifier(dataset, STUDY_ROOT)
    assert condition(query, "SOPInstanceUID") == Exact("1.2.*")
    assert condition(query, "PatientID") == Wildcard("P?")
    assert condition(query, "StudyDescription") == Wildcard("CT*")


@pytest.mark.parametrize(
    ("tag", "value"),
    [(0x00080020, b"2024*"), (0x00080020, b"january "), (0x00201206, b"1-5 ")],
)
def test_values_the_vr_does_not_allow_are_refused(tag: int, value: bytes) -> None:
    dataset = implicit((0x00080052, b"STUDY "), (tag, value))
    with pytest.raises(Invalid):
        parse_identifier(dataset, STUDY_ROOT)


def test_several_values_match_any_of_them() -> None:
    query = parse_identifier(identifier(ModalitiesInStudy=["CT", "MR"]), STUDY_ROOT)
    assert condition(query, "ModalitiesInStudy") == AnyOf((Exact("CT"), Exact("MR")))


def test_date_and_time_are_one_moment_only_when_negotiated() -> None:
    dataset = identifier(StudyDate="20240101-20240102", StudyTime="1200-1300")
    apart = parse_identifier(dataset, STUDY_ROOT)
    date, time = Range("20240101", "20240102"), Range("120000.000000", "130060.999999")
    assert condition(apart, "StudyDate") == date
    assert condition(apart, "StudyTime") == time
    together = parse_identifier(dataset, STUDY_ROOT, combined_date_time=True)
    assert together.conditions == (Condition("StudyDate", MomentRange("StudyTime", date, time)),)


def test_sequence_keys_match_and_return_items() -> None:
    item = Dataset()
    item.ScheduledProcedureStepID = "SPS1"
    item.RequestedProcedureID = ""
    query = parse_identifier(
        identifier("SERIES", StudyInstanceUID="1.2", RequestAttributesSequence=[item]), STUDY_ROOT
    )
    assert condition(query, "RequestAttributesSequence") == Items(
        (Condition("ScheduledProcedureStepID", Exact("SPS1")),)
    )
    answer = query.select(
        {
            "00400275": {
                "vr": "SQ",
                "Value": [
                    {
                        "00400007": {"vr": "LO", "Value": ["not asked for"]},
                        "00400009": {"vr": "SH", "Value": ["SPS1"]},
                    }
                ],
            }
        }
    )
    assert answer["00400275"]["Value"] == [{"00400009": {"vr": "SH", "Value": ["SPS1"]}}]


def test_a_sequence_key_of_two_items_is_refused() -> None:
    with pytest.raises(Invalid):
        parse_identifier(
            identifier("SERIES", StudyInstanceUID="1", RequestAttributesSequence=[Dataset()] * 2),
            STUDY_ROOT,
        )


@pytest.mark.parametrize(
    ("level", "model"), [("", STUDY_ROOT), ("PATIENT", STUDY_ROOT), ("FRAME", PATIENT_ROOT)]
)
def test_a_level_the_model_does_not_have_is_refused(level: str, model: Model) -> None:
    with pytest.raises(Invalid, match="Query/Retrieve Level"):
        parse_identifier(identifier(level), model)


@pytest.mark.parametrize(
    ("level", "model", "keys"),
    [
        ("STUDY", PATIENT_ROOT, {}),
        ("SERIES", STUDY_ROOT, {}),
        ("SERIES", STUDY_ROOT, {"StudyInstanceUID": ""}),
        ("SERIES", PATIENT_ROOT, {"StudyInstanceUID": "1.2"}),
        ("IMAGE", STUDY_ROOT, {"StudyInstanceUID": "1.2"}),
    ],
)
def test_unique_keys_above_are_demanded_unless_relational(
    level: str, model: Model, keys: dict[str, str]
) -> None:
    with pytest.raises(MissingUniqueKey):
        parse_identifier(identifier(level, **keys), model)
    assert parse_identifier(identifier(level, **keys), model, relational=True)


def test_a_unique_key_above_takes_no_wildcard() -> None:
    with pytest.raises(Invalid, match="wildcards"):
        parse_identifier(identifier("STUDY", PatientID="P*"), PATIENT_ROOT)


def test_an_answer_has_every_key_asked_for_and_no_other() -> None:
    query = parse_identifier(identifier(StudyDate="", StudyDescription=""), STUDY_ROOT)
    answer = query.select(
        {
            "00080020": {"vr": "DA", "Value": ["20240101"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Not^Asked"}]},
        }
    )
    assert answer == {"00080020": {"vr": "DA", "Value": ["20240101"]}, "00081030": {"vr": "LO"}}


def test_retrieval_goes_by_unique_keys_alone() -> None:
    query = parse_retrieve_identifier(
        identifier(
            "SERIES", StudyInstanceUID="1.2", SeriesInstanceUID=["1.3", "1.4"], PatientID="P"
        ),
        STUDY_ROOT,
    )
    assert query == Query(
        Level.SERIES,
        (
            Condition("StudyInstanceUID", Exact("1.2")),
            Condition("SeriesInstanceUID", AnyOf((Exact("1.3"), Exact("1.4")))),
        ),
    )


def test_a_star_in_the_patient_id_of_a_retrieval_is_a_star() -> None:
    query = parse_retrieve_identifier(identifier("PATIENT", PatientID="*"), PATIENT_ROOT)
    assert query.conditions == (Condition("PatientID", Exact("*")),)


@pytest.mark.parametrize(
    ("level", "model", "keys"),
    [
        ("PATIENT", PATIENT_ROOT, {}),
        ("PATIENT", PATIENT_ROOT, {"PatientID": ["A", "B"]}),
        ("STUDY", STUDY_ROOT, {"StudyInstanceUID": ""}),
        ("STUDY", PATIENT_ROOT, {"StudyInstanceUID": "1.2"}),
        ("SERIES", STUDY_ROOT, {"SeriesInstanceUID": "1.3"}),
        ("IMAGE", STUDY_ROOT, {"StudyInstanceUID": "1", "SOPInstanceUID": "1.3"}),
    ],
)
def test_retrieval_without_its_unique_keys_is_refused(
    level: str, model: Model, keys: dict[str, object]
) -> None:
    with pytest.raises(Invalid):
        parse_retrieve_identifier(identifier(level, **keys), model)

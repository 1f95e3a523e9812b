"""What queries find at each level, in which order, and with what in the answer."""

from collections.abc import Mapping
from contextlib import aclosing

import pytest
from pydicom.dataset import Dataset

from hilum.core.errors import NoPixelData, NotFound
from hilum.core.identifier_query import parse_identifier, parse_retrieve_identifier
from hilum.core.levels import Level, json_tag
from hilum.core.qido_query import parse_qido
from hilum.core.query import Condition, Exact, Model, MomentRange, Query, Range
from hilum.index import filters, layouts, walk
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.stored import Match
from hilum.index.writer import Writer
from tests.integration.objects import instance


def requested(procedure: str, step: str) -> Dataset:
    item = Dataset()
    item.RequestedProcedureID = procedure
    item.ScheduledProcedureStepID = step
    return item


#: Two patients, three studies, five series, eight instances.
OBJECTS = [
    *(
        instance(
            uid,
            patient="P1",
            study="1.1",
            series="1.1.2",
            PatientName="Müller^Jürgen=山田^太郎",
            StudyDate="20240105",
            StudyTime="1030",
            StudyDescription="Schädel CT",
            AccessionNumber="A-1",
            Modality="CT",
            SeriesNumber=2,
            InstanceNumber=number,
            frames=2,
            RequestAttributesSequence=[requested("RP1", "S1"), requested("RP2", "S2")],
        )
        for uid, number in (("1.1.2.10", 10), ("1.1.2.9", 9), ("1.1.2.1", None))
    ),
    instance(
        "1.1.1.1",
        patient="P1",
        study="1.1",
        series="1.1.1",
        PatientName="Müller^Jürgen=山田^太郎",
        StudyDate="20240105",
        Modality="SR",
        SeriesNumber=1,
        InstanceNumber=1,
        frames=0,
    ),
    instance(
        "1.1.9.1",
        patient="P1",
        study="1.1",
        series="1.1.9",
        Modality="OT",
        frames=1,
    ),
    instance(
        "1.2.1.1",
        patient="P1",
        study="1.2",
        series="1.2.1",
        PatientName="Müller^Jürgen",
        StudyDate="20240301",
        StudyTime="090000",
        Modality="MR",
        SeriesNumber=1,
        ImageType=["ORIGINAL", "PRIMARY", "M"],
        frames=1,
    ),
    *(
        instance(
            f"2.1.1.{number}",
            patient="P2",
            study="2.1",
            series="2.1.1",
            PatientName="Adams^Ann",
            StudyDate="20230101",
            StudyTime="235959.5",
            AccessionNumber="B-7",
            Modality="CT",
            SeriesNumber=1,
            InstanceNumber=number,
            frames=1,
        )
        for number in (2, 1)
    ),
]


@pytest.fixture(autouse=True)
async def stored(writer: Writer) -> None:
    assert (await writer.write([Write(each) for each in OBJECTS])).lost == []


async def found(catalogue: Catalogue, query: Query) -> list[Match]:
    return [match async for match in catalogue.find(query)]


async def uids(catalogue: Catalogue, level: Level, keys: Mapping[str, str]) -> list[str]:
    """Return the unique keys of what QIDO parameters find, and check `count` on the way."""
    query = parse_qido(level, keys.items())
    assert query.unsupported == ()
    matches = await found(catalogue, query)
    if query.limit is None and not query.offset:
        assert await catalogue.count(query) == len(matches)
    return [values(match, level.unique_key)[0] for match in matches]


def values(match: Match, keyword: str) -> list[str]:
    return match.attributes[json_tag(keyword)].get("Value", [])


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({}, ["1.2", "1.1", "2.1"]),
        ({"PatientID": "P1"}, ["1.2", "1.1"]),
        ({"PatientName": "MULLER^JURGEN"}, ["1.2", "1.1"]),
        ({"PatientName": "=山田^太郎"}, ["1.1"]),
        ({"PatientName": "müller*=山田*"}, ["1.1"]),
        ({"PatientName": "*ann"}, ["2.1"]),
        ({"StudyDate": "20240101-"}, ["1.2", "1.1"]),
        ({"StudyDate": "-20231231"}, ["2.1"]),
        ({"StudyDate": "2024.01.05"}, ["1.1"]),
        ({"StudyTime": "0900-1030"}, ["1.2", "1.1"]),
        ({"StudyTime": "235959"}, ["2.1"]),
        ({"ModalitiesInStudy": "CT"}, ["1.1", "2.1"]),
        ({"ModalitiesInStudy": "SR\\MR"}, ["1.2", "1.1"]),
        ({"ModalitiesInStudy": "?R"}, ["1.2", "1.1"]),
        ({"NumberOfStudyRelatedSeries": "3"}, ["1.1"]),
        ({"StudyDescription": "Sch*"}, ["1.1"]),
        ({"StudyDescription": "sch*"}, []),
        ({"AccessionNumber": "A-1,B-7"}, []),
        ({"AccessionNumber": "A-1\\B-7"}, ["1.1", "2.1"]),
        ({"StudyInstanceUID": "1.1,2.1"}, ["1.1", "2.1"]),
        ({"StudyInstanceUID": "1.*"}, []),
        ({"PatientName": "jur mul", "fuzzymatching": "true"}, ["1.2", "1.1"]),
        ({"PatientName": "ull", "fuzzymatching": "true"}, []),
        ({"limit": "1", "offset": "1"}, ["1.1"]),
        ({"limit": "0"}, []),
        ({"offset": "5"}, []),
    ],
)
async def test_studies(catalogue: Catalogue, keys: dict[str, str], studies: list[str]) -> None:
    assert await uids(catalogue, Level.STUDY, keys) == studies


@pytest.mark.parametrize(
    ("keys", "series"),
    [
        ({}, ["1.2.1", "1.1.1", "1.1.2", "1.1.9", "2.1.1"]),
        ({"StudyInstanceUID": "1.1"}, ["1.1.1", "1.1.2", "1.1.9"]),
        ({"Modality": "CT"}, ["1.1.2", "2.1.1"]),
        ({"Modality": "CT", "PatientName": "adams*"}, ["2.1.1"]),
        ({"SeriesInstanceUID": "1.1.2", "StudyInstanceUID": "1.1"}, ["1.1.2"]),
        ({"SeriesInstanceUID": "1.1.2", "StudyInstanceUID": "2.1"}, []),
        ({"SeriesNumber": "1", "PatientID": "P1"}, ["1.2.1", "1.1.1"]),
        ({"NumberOfSeriesRelatedInstances": "3"}, ["1.1.2"]),
        ({"RequestAttributesSequence.ScheduledProcedureStepID": "S2"}, ["1.1.2"]),
        (
            {
                "RequestAttributesSequence.RequestedProcedureID": "RP1",
                "RequestAttributesSequence.ScheduledProcedureStepID": "S2",
            },
            [],
        ),
        ({"limit": "2", "offset": "2"}, ["1.1.2", "1.1.9"]),
    ],
)
async def test_series(catalogue: Catalogue, keys: dict[str, str], series: list[str]) -> None:
    found_series = await uids(catalogue, Level.SERIES, keys)
    if set(keys) <= {"Modality", "NumberOfSeriesRelatedInstances"} and keys:
        found_series.sort()
    assert found_series == series


@pytest.mark.parametrize(
    ("keys", "instances"),
    [
        (
            {"StudyInstanceUID": "1.1"},
            ["1.1.1.1", "1.1.2.9", "1.1.2.10", "1.1.2.1", "1.1.9.1"],
        ),
        ({"SeriesInstanceUID": "2.1.1"}, ["2.1.1.1", "2.1.1.2"]),
        ({"SOPInstanceUID": "1.1.2.9,2.1.1.1", "PatientID": "P2"}, ["2.1.1.1"]),
        ({"ImageType": "PRIMARY"}, ["1.2.1.1"]),
        ({"InstanceNumber": "9"}, ["1.1.2.9"]),
        ({"InstanceNumber": "1", "Modality": "CT", "PatientName": "A*"}, ["2.1.1.1"]),
        ({"AvailableTransferSyntaxUID": "1.2.840.10008.1.2"}, []),
        ({"StudyInstanceUID": "1.1", "limit": "2", "offset": "1"}, ["1.1.2.9", "1.1.2.10"]),
    ],
)
async def test_instances(catalogue: Catalogue, keys: dict[str, str], instances: list[str]) -> None:
    assert await uids(catalogue, Level.IMAGE, keys) == instances


@pytest.mark.parametrize(
    ("keys", "patients"),
    [
        ({}, ["P2", "P1"]),
        ({"PatientID": "P?"}, ["P2", "P1"]),
        ({"PatientName": "*太郎*"}, ["P1"]),
        ({"NumberOfPatientRelatedStudies": "2"}, ["P1"]),
        ({"NumberOfPatientRelatedInstances": "2\\6"}, ["P2", "P1"]),
        ({"limit": "1", "offset": "1"}, ["P1"]),
    ],
)
async def test_patients(catalogue: Catalogue, keys: dict[str, str], patients: list[str]) -> None:
    assert await uids(catalogue, Level.PATIENT, keys) == patients


async def test_a_patient_has_the_counts_of_all_studies_and_the_name_of_the_newest(
    catalogue: Catalogue,
) -> None:
    [match] = await found(catalogue, parse_qido(Level.PATIENT, [("PatientName", "=山田*")]))
    assert values(match, "NumberOfPatientRelatedStudies") == [2]
    assert values(match, "NumberOfPatientRelatedSeries") == [4]
    assert values(match, "NumberOfPatientRelatedInstances") == [6]
    # The matching study's, as that is the one that was asked for.
    assert values(match, "PatientName") == [
        {"Alphabetic": "Müller^Jürgen", "Ideographic": "山田^太郎"}
    ]
    assert (match.study, match.series, match.instance) == ("", "", "")


async def test_an_answer_has_what_the_levels_above_say(catalogue: Catalogue) -> None:
    query = Query(Level.IMAGE, (Condition("SOPInstanceUID", Exact("1.1.2.9")),))
    [match] = await found(catalogue, query)
    assert values(match, "PatientID") == ["P1"]
    assert values(match, "ModalitiesInStudy") == ["CT", "OT", "SR"]
    assert values(match, "NumberOfStudyRelatedInstances") == [5]
    assert values(match, "Modality") == ["CT"]
    assert values(match, "NumberOfSeriesRelatedInstances") == [3]
    assert values(match, "AvailableTransferSyntaxUID") == ["1.2.840.10008.1.2.1"]
    identity = OBJECTS[0].header.identity
    assert (match.patient, match.study, match.series) == (
        identity.patient,
        identity.study,
        identity.series,
    )
    assert match.frame_count == 2
    assert await catalogue.match(Level.IMAGE, match.instance) == match
    assert (await catalogue.match(Level.STUDY, match.study)).frame_count == 7
    with pytest.raises(NotFound):
        await catalogue.match(Level.SERIES, match.study)


@pytest.mark.parametrize(
    ("text", "studies"),
    [
        ("muller", ["1.2", "1.1"]),
        ("SCHADEL", ["1.1"]),
        ("adams b-7", ["2.1"]),
        ("p2", ["2.1"]),
        ("山", ["1.1"]),
        ("adams a-1", []),
        ("dams", []),
        ("jurg", ["1.2", "1.1"]),
        ("muller^jurgen", ["1.2", "1.1"]),
        (".*", []),
    ],
)
async def test_free_text(catalogue: Catalogue, text: str, studies: list[str]) -> None:
    query = Query(Level.STUDY, text=text)
    assert [values(m, "StudyInstanceUID")[0] for m in await found(catalogue, query)] == studies
    assert await catalogue.count(query) == len(studies)


async def test_a_moment_counts_its_times_on_the_outermost_days_only(
    catalogue: Catalogue,
) -> None:
    async def between(first: tuple[str, str], last: tuple[str, str]) -> list[str]:
        matching = MomentRange("StudyTime", Range(first[0], last[0]), Range(first[1], last[1]))
        query = Query(Level.STUDY, (Condition("StudyDate", matching),))
        return [values(match, "StudyInstanceUID")[0] for match in await found(catalogue, query)]

    noon, nine = "120000.000000", "090000.000000"
    assert await between(("20240104", noon), ("20240301", nine)) == ["1.2", "1.1"]
    assert await between(("20240105", noon), ("20240301", nine)) == ["1.2"]
    assert await between(("20240105", nine), ("20240301", "085959.999999")) == ["1.1"]


async def test_retrieval_selects_instances_in_reading_order(catalogue: Catalogue) -> None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "PATIENT"
    identifier.PatientID = "P1"
    query = parse_retrieve_identifier(identifier, Model.PATIENT_ROOT)
    retrieved = [each.identity.sop_instance_uid for each in await catalogue.instances(query)]
    in_study = ["1.1.1.1", "1.1.2.9", "1.1.2.10", "1.1.2.1", "1.1.9.1"]
    assert sorted(retrieved) == sorted([*in_study, "1.2.1.1"])
    assert [uid for uid in retrieved if uid.startswith("1.1.")] == in_study

    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    identifier.StudyInstanceUID = "1.1"
    identifier.SeriesInstanceUID = ["1.1.2", "1.1.1"]
    query = parse_retrieve_identifier(identifier, Model.STUDY_ROOT)
    retrieved = [each.identity.sop_instance_uid for each in await catalogue.instances(query)]
    assert retrieved == in_study[:4]


async def test_a_stored_instance_is_what_was_written(catalogue: Catalogue) -> None:
    written = OBJECTS[0]
    stored = await catalogue.instance(written.header.identity.instance)
    assert stored.identity == written.header.identity
    assert stored.blob == written.blob
    assert stored.pixel_data == written.header.pixel_data
    assert stored.data_set_offset == written.header.data_set_offset
    assert stored.transfer_syntax_uid == written.header.transfer_syntax_uid
    with pytest.raises(NotFound):
        await catalogue.instance("nothing")


async def test_the_frames_of_a_study_are_counted_through(
    catalogue: Catalogue, writer: Writer
) -> None:
    layout = await catalogue.study_frames("1.1")
    # The report has none; 9 and 10 and the one without a number have two each.
    in_order = [
        (found.identity.sop_instance_uid, frame)
        for found, frame in map(layout.frame_at, range(layout.total))
    ]
    assert in_order == [
        ("1.1.2.9", 0),
        ("1.1.2.9", 1),
        ("1.1.2.10", 0),
        ("1.1.2.10", 1),
        ("1.1.2.1", 0),
        ("1.1.2.1", 1),
        ("1.1.9.1", 0),
    ]
    for outside in (-1, 7):
        with pytest.raises(NotFound):
            layout.frame_at(outside)
    with pytest.raises(NotFound):
        await catalogue.study_frames("9.9")
    report = instance("8.1.1.1", study="8.1", series="8.1.1", Modality="SR", frames=0)
    await writer.write([Write(report)])
    with pytest.raises(NoPixelData):
        (await catalogue.study_frames("8.1")).frame_at(0)
    # What is written is in the layout at once.
    more = instance("1.1.0.1", patient="P1", study="1.1", series="1.1.0", SeriesNumber=0)
    await writer.write([Write(more)])
    assert (await catalogue.study_frames("1.1")).frame_at(0)[0].identity == more.header.identity


async def test_the_view_has_one_record_a_frame(database: Database) -> None:
    assert await database.raw["frames"].count_documents({}) == 10
    records = [
        record
        async for record in database.raw["frames"]
        .find({"studyInstanceUID": "1.1", "instanceNumber": 9})
        .sort("frameIndex", 1)
    ]
    identity = OBJECTS[1].header.identity
    assert records == [
        {
            "studyInstanceUID": "1.1",
            "seriesInstanceUID": "1.1.2",
            "sopInstanceUID": "1.1.2.9",
            "frameIndex": index,
            "frameNumber": index + 1,
            "seriesNumber": 2,
            "instanceNumber": 9,
            "modality": "CT",
            "patientID": "P1",
            "patientName": "Müller^Jürgen",
            "orthancInstanceId": identity.instance,
            "orthancSeriesId": identity.series,
            "orthancStudyId": identity.study,
            "orthancPatientId": identity.patient,
        }
        for index in (0, 1)
    ]


async def test_the_view_finds_a_study_by_an_index(database: Database) -> None:
    plan = await database.raw.command(
        {"explain": {"find": "frames", "filter": {"studyInstanceUID": "1.1"}}},
        verbosity="queryPlanner",
    )
    planner = plan["stages"][0]["$cursor"] if "stages" in plan else plan
    assert index_names(planner["queryPlanner"]["winningPlan"]) == {"study_uid"}


async def test_only_so_many_layouts_are_kept(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "_INSTANCES_KEPT", 7)
    first = await catalogue.study_frames("1.1")  # Five instances,
    await catalogue.study_frames("1.2")  # and one, and then two.
    assert await catalogue.study_frames("1.1") is first
    await catalogue.study_frames("2.1")
    assert await catalogue.study_frames("1.1") is first
    await catalogue.study_frames("1.2")
    await catalogue.study_frames("2.1")
    assert await catalogue.study_frames("1.1") is not first


async def test_an_iterator_can_be_left_early(catalogue: Catalogue) -> None:
    async with aclosing(catalogue.find(Query(Level.IMAGE))) as matches:
        async for _ in matches:
            break


@pytest.mark.parametrize("at_once", [1, 2, 1000])
async def test_however_few_are_fetched_at_once_the_answer_is_the_same(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(walk, "_AT_ONCE", at_once)
    monkeypatch.setattr(walk, "_PARENTS_AT_ONCE", at_once)
    assert await uids(catalogue, Level.IMAGE, {}) == [
        "1.2.1.1",
        "1.1.1.1",
        "1.1.2.9",
        "1.1.2.10",
        "1.1.2.1",
        "1.1.9.1",
        "2.1.1.1",
        "2.1.1.2",
    ]
    assert sorted(await uids(catalogue, Level.IMAGE, {"Modality": "CT"})) == [
        "1.1.2.1",
        "1.1.2.10",
        "1.1.2.9",
        "2.1.1.1",
        "2.1.1.2",
    ]


@pytest.mark.parametrize(
    ("keys", "index"),
    [
        ({"StudyInstanceUID": "1.1"}, "uid"),
        ({"PatientID": "P1"}, "patient_newest"),
        ({"PatientName": "mul*"}, "name_newest"),
        ({"PatientName": "Müller^Jürgen=山田^太郎"}, "name_newest"),
        ({"AccessionNumber": "A-1"}, "accession_number"),
        ({"StudyDate": "20240101-20240131"}, "newest"),
        ({}, "newest"),
    ],
)
async def test_main_study_queries_use_an_index(
    database: Database, writer: Writer, keys: dict[str, str], index: str
) -> None:
    await writer.write(
        [
            Write(
                instance(
                    f"7.{n}.1",
                    patient=f"N{n}",
                    study=f"7.{n}",
                    series=f"7.{n}.1",
                    PatientName=f"Name{n}^Given",
                    StudyDate=f"20{n % 20:02}0615",
                    AccessionNumber=f"N{n}",
                )
            )
            for n in range(100)
        ]
    )
    query = parse_qido(Level.STUDY, keys.items())
    plan = await (
        database.studies.find(filters.level_filters(query)[Level.STUDY])
        .sort([("StudyDate", -1), ("StudyTime", -1), ("_id", 1)])
        .limit(10)
        .explain()
    )
    assert index_names(plan["queryPlanner"]["winningPlan"]) == {index}
    assert plan["executionStats"]["totalDocsExamined"] <= 10


def index_names(plan: dict[str, object]) -> set[object]:
    stages = [plan.get("inputStage"), *(plan.get("inputStages") or ())]  # type: ignore[misc]
    below = [index_names(stage) for stage in stages if isinstance(stage, dict)]
    own = {plan["indexName"]} if "indexName" in plan else set()
    return own.union(*below)


async def test_parsing_and_finding_agree_for_an_identifier(catalogue: Catalogue) -> None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    identifier.StudyInstanceUID = "1.1"
    identifier.SeriesInstanceUID = ""
    identifier.PatientName = ""
    identifier.NumberOfSeriesRelatedInstances = ""
    query = parse_identifier(identifier, Model.STUDY_ROOT)
    answers = [query.select(match.attributes) for match in await found(catalogue, query)]
    assert [answer["0020000E"]["Value"] for answer in answers] == [["1.1.1"], ["1.1.2"], ["1.1.9"]]
    assert set(answers[0]) == {"00100010", "0020000D", "0020000E", "00201209"}
    # What pydicom makes of the DICOM JSON is what goes over the wire.
    assert Dataset.from_json(answers[1]).NumberOfSeriesRelatedInstances == 3


async def test_exact_conditions_on_unknown_values_find_nothing(catalogue: Catalogue) -> None:
    for keyword in ("PatientID", "StudyDescription", "SOPClassesInStudy"):
        query = Query(Level.STUDY, (Condition(keyword, Exact("nowhere")),))
        assert await found(catalogue, query) == []

"""Resources by public id: what is told of them, in how few questions to MongoDB."""

from dataclasses import replace
from typing import Any

import pytest

from hilum.core.errors import NotFound
from hilum.core.instance import Instance
from hilum.core.levels import Level
from hilum.core.main_tags import main_dicom_tags
from hilum.http.orthanc.describe import Describer
from hilum.http.orthanc.tag_names import Form
from hilum.index.attached import Attached
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.resources import Resources
from hilum.index.writer import Writer
from tests.integration.objects import instance


def told(uid: str, main_tags: dict[str, str] | None = None, **values: Any) -> Instance:
    """Return an instance whose header has the text of its main tags, as a file's has."""
    made = instance(uid, **values)
    found = {
        keyword: text
        for level in Level
        for keyword, text in main_dicom_tags(level, made.header.attributes).items()
    }
    return replace(made, header=replace(made.header, main_tags={**found, **(main_tags or {})}))


async def write(database: Database, *instances: Instance) -> None:
    written = await Writer(database).write([Write(each) for each in instances])
    assert not written.lost


async def test_text_is_told_as_it_was_written(database: Database) -> None:
    written = {"ImagePositionPatient": "1.50\\2e3", "StudyDescription": "", "StationName": ""}
    made = told("1.1", written, ImagePositionPatient=[1.5, 2000], StudyDescription="")
    await write(database, made)
    resources = Resources(database)
    identity = made.header.identity
    image = await resources.one(Level.IMAGE, identity.instance)
    assert image.main["ImagePositionPatient"] == "1.50\\2e3"
    study = await resources.one(Level.STUDY, identity.study)
    assert study.main["StudyDescription"] == ""
    assert "StudyDate" not in study.main


async def test_what_is_empty_blanks_nothing_whatever_came_first(database: Database) -> None:
    known, empty = {"StudyDescription": "CHEST"}, {"StudyDescription": ""}
    for order, texts in enumerate(((known, empty), (empty, known))):
        for number, text in enumerate(texts):
            uid, study = f"1.{order}.{number}", f"9.{order}"
            await write(database, told(uid, text, study=study, series=f"{study}.1"))
        identity = instance("1", study=f"9.{order}").header.identity
        found = await Resources(database).one(Level.STUDY, identity.study)
        assert found.main["StudyDescription"] == "CHEST"


async def test_what_was_stored_without_its_text_is_told_from_its_attributes(
    database: Database,
) -> None:
    made = told("1.1", StudyDescription="CHEST", PatientName="A^B", InstanceNumber=7)
    await write(database, made)
    for collection in (database.studies, database.series, database.instances):
        await collection.update_many({}, {"$unset": {"main": ""}})
    resources, identity = Resources(database), made.header.identity
    study = await resources.one(Level.STUDY, identity.study)
    assert (study.main["StudyDescription"], study.patient_main["PatientName"]) == ("CHEST", "A^B")
    assert (await resources.one(Level.PATIENT, identity.patient)).main["PatientName"] == "A^B"
    image = await resources.one(Level.IMAGE, identity.instance)
    assert image.main["InstanceNumber"] == "7"


async def test_a_patient_is_all_of_its_studies_and_its_newest_speaks(database: Database) -> None:
    older = told("1.1", study="1", series="1.9", StudyDate="20200101", PatientName="Before")
    newer = told("2.1", study="2", series="2.9", StudyDate="20210101", PatientName="After")
    await write(database, newer, older)
    resources, identity = Resources(database), older.header.identity
    patient = await resources.one(Level.PATIENT, identity.patient)
    assert patient.main["PatientName"] == "After"
    assert (patient.studies, patient.series_count, patient.instances) == (2, 2, 2)
    found = await resources.children(Level.PATIENT, [identity.patient], Level.IMAGE)
    ids = [each.header.identity.instance for each in (newer, older)]
    assert found == {identity.patient: ids}
    assert await resources.page(Level.PATIENT) == [identity.patient]


@pytest.mark.parametrize("level", list(Level))
async def test_any_number_is_described_in_the_same_number_of_questions(
    database: Database, level: Level
) -> None:
    counts = []
    describer = Describer(Resources(database), Attached(database))
    for number in (1, 30):
        await write(
            database,
            *(
                told(
                    f"{number}.{each}",
                    {"NumberOfSlices": "1", "NumberOfTimeSlices": "1"},
                    patient=f"P{number}.{each}",
                    study=f"{number}.{each}.1",
                    series=f"{number}.{each}.2",
                )
                for each in range(number)
            ),
        )
        ids = await Resources(database).page(level)
        await database.raw.command("profile", 2)
        described = await describer.some(level, ids, Form.HUMAN, requested=["PatientName"])
        await database.raw.command("profile", 0)
        assert len(described) == len(ids)
        operations = database.raw["system.profile"].find({"op": {"$in": ["query", "command"]}})
        counts.append(
            len([each async for each in operations if "profile" not in each.get("command", {})])
        )
        await database.raw["system.profile"].drop()
    assert counts[0] == counts[1] > 0


async def test_a_lookup_by_id_reads_one_document_of_an_index(database: Database) -> None:
    await write(database, *(told(f"1.{n}", study=f"{n}", patient=f"P{n}") for n in range(20)))
    resources, identity = Resources(database), instance("1.3", study="3", patient="P3")
    ids = identity.header.identity
    await database.raw.command("profile", 2)
    await resources.one(Level.STUDY, ids.study)
    await resources.one(Level.PATIENT, ids.patient)
    await database.raw.command("profile", 0)
    operations = [
        each
        async for each in database.raw["system.profile"].find({"op": "query"})
        if each["ns"].endswith(".studies")
    ]
    assert [each["docsExamined"] for each in operations] == [1, 1]
    assert not any("COLLSCAN" in each["planSummary"] for each in operations)


async def test_nothing_is_not_found_at_another_level(database: Database) -> None:
    made = told("1.1")
    await write(database, made)
    resources, identity = Resources(database), made.header.identity
    for level, public_id in (
        (Level.STUDY, identity.series),
        (Level.IMAGE, identity.study),
        (Level.PATIENT, identity.study),
    ):
        with pytest.raises(NotFound):
            await resources.one(level, public_id)
        with pytest.raises(NotFound):
            await resources.instances(level, public_id)
    assert await resources.level_of(identity.series) is Level.SERIES
    assert await resources.level_of(identity.patient) is Level.PATIENT
    with pytest.raises(NotFound):
        await resources.level_of("x")

"""Fill an index with studies that nobody had: ``python -m scripts.seed --uri URI --studies N``.

Documents are made by the builders the node uses (in `hilum.index`: `instance_documents`,
`entity_documents`, `derive`), so they are what it would have written: ten instances a study on
average, a million for 100,000 studies. Only the files are missing: digests are of nothing,
and the node that is started on such an index can find everything and send none of it.

The same number gives the same study, whenever it is made: seeding again adds nothing but
what is not there yet.
"""

import argparse
import asyncio
import hashlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, chain
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from hilum.core.instance import Attributes, Blob, Header, Identity, Instance, Origin, PixelData
from hilum.core.levels import Level, json_tag, vr_of
from hilum.core.main_tags import main_dicom_tags
from hilum.index.database import Database
from hilum.index.derive import derive_series, derive_studies
from hilum.index.entity_documents import entity_update
from hilum.index.instance_documents import instance_document

#: Family and given names of one language, the commonest first; groups as in PS3.5 6.2.1.2.
NAMES: Final[tuple[tuple[str, str], ...]] = (
    (
        (
            "Smith Johnson Williams Brown Jones Miller Davis Wilson Anderson Taylor Thomas Moore "
            "Martin Jackson Thompson White Lee Harris Clark Lewis Robinson Walker Hall Smithson"
        ),
        "Mary James Patricia Robert Jennifer John Linda Michael Elizabeth David Susan William",
    ),
    (
        (
            "Müller Schmidt Schneider Fischer Weber Meyer Wagner Schulz Hoffmann Schäfer Koch "
            "Bauer Richter Klein Wolf Schröder Neumann Schwarz Zimmermann Groß"
        ),
        "Anna Peter Ursula Hans Monika Jürgen Renate Günther Sabine Björn Käthe Jörg",
    ),
    (
        (
            "García Rodríguez González Fernández López Martínez Sánchez Pérez Gómez Martín Jiménez "
            "Ruiz Hernández Díaz Moreno Muñoz Álvarez Romero Núñez Ibáñez"
        ),
        "María José Carmen Antonio Ana Manuel Isabel Francisco Lucía Ángel Begoña Iñaki",
    ),
    (
        "Martin Bernard Dubois Thomas Robert Richard Petit Durand Leroy Moreau Lefèvre Besançon",
        "Jean Marie Pierre Françoise Michel Hélène André Thérèse Loïc Zoé",
    ),
    (
        "Иванов Смирнов Кузнецов Попов Васильев Петров Соколов Михайлов Новиков Фёдоров",
        "Анна Иван Мария Сергей Ольга Дмитрий Елена Алексей Наталья Фёдор",
    ),
    (
        "Nowak Kowalski Wiśniewski Wójcik Kamiński Lewandowski Zieliński Łukasiewicz Żak",
        "Anna Piotr Katarzyna Krzysztof Małgorzata Łukasz Agnieszka Paweł",
    ),
    (
        "Nguyễn Trần Lê Phạm Hoàng Huỳnh Phan Vũ Đặng Bùi Đỗ",
        "Văn Thị Minh Hương Đức Lan Tuấn Ngọc Hải Thảo",
    ),
    (
        "Yılmaz Kaya Demir Şahin Çelik Yıldız Öztürk Aydın Özdemir Arslan",
        "Fatma Mehmet Ayşe Mustafa Emine Ahmet Hatice Ali İbrahim Gülşen",
    ),
    (
        "Παπαδόπουλος Βλάχος Αγγελόπουλος Νικολαΐδης Γεωργίου Δημητρίου",
        "Γεώργιος Μαρία Κωνσταντίνος Ελένη Ιωάννης Κατερίνα",
    ),
    (
        (
            "Sato=佐藤=さとう Suzuki=鈴木=すずき Takahashi=高橋=たかはし Tanaka=田中=たなか "
            "Watanabe=渡辺=わたなべ Ito=伊藤=いとう Yamamoto=山本=やまもと Yamada=山田=やまだ"
        ),
        "Tarou=太郎=たろう Hanako=花子=はなこ Hiroshi=浩=ひろし Yumi=由美=ゆみ Ken=健=けん",
    ),
    (
        "Wang=王 Li=李 Zhang=张 Liu=刘 Chen=陈 Yang=杨 Zhao=赵 Huang=黄 Zhou=周 Wu=吴",
        "Wei=伟 Fang=芳 Xiuying=秀英 Na=娜 Min=敏 Jing=静 Qiang=强 Lei=磊 Xiaodong=小东",
    ),
    (
        "Kim=金=김 Lee=李=이 Park=朴=박 Choi=崔=최 Jung=鄭=정 Kang=姜=강",
        "Gildong=吉洞=길동 Minjun=民俊=민준 Seoyeon=瑞姸=서연 Jihun=志訓=지훈",
    ),
)
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of examination leaves behind."""

    weight: int
    modality: str
    sop_class_uid: str
    series: int
    instances: int
    """In each series."""
    frames: int
    rows: int
    descriptions: tuple[str, ...]


_CT: Final = "1.2.840.10008.5.1.4.1.1.2"
KINDS: Final = (
    Kind(25, "CR", "1.2.840.10008.5.1.4.1.1.1", 1, 2, 1, 2048, ("Chest pa/lat", "Hand left")),
    Kind(20, "DX", "1.2.840.10008.5.1.4.1.1.1.1", 2, 1, 1, 2500, ("Thorax", "Knee right")),
    Kind(16, "CT", _CT, 3, 10, 1, 512, ("CT Abdomen", "CT Head w/o contrast", "CT Thorax")),
    Kind(10, "MR", "1.2.840.10008.5.1.4.1.1.4", 4, 6, 1, 256, ("MRT Schädel", "MR L-Spine")),
    Kind(12, "US", "1.2.840.10008.5.1.4.1.1.3.1", 1, 8, 30, 480, ("Abdomen US", "Schilddrüse")),
    Kind(6, "MG", "1.2.840.10008.5.1.4.1.1.1.2", 1, 4, 1, 3000, ("Mammography screening",)),
    Kind(4, "XA", "1.2.840.10008.5.1.4.1.1.12.1", 3, 2, 60, 512, ("Coronary angiography",)),
    Kind(3, "NM", "1.2.840.10008.5.1.4.1.1.20", 1, 2, 16, 128, ("Bone scan",)),
    Kind(4, "PT", "1.2.840.10008.5.1.4.1.1.128", 1, 12, 1, 200, ("FDG PET/CT",)),
)
_FIRST_DAY: Final = date(2011, 11, 22)
_DAYS: Final = 15 * 365
#: Studies that one task writes, in a few round trips.
_AT_ONCE: Final = 100


def study(number: int) -> list[Instance]:
    """Return the instances of the study with this number, always the same."""
    chance = random.Random(number)
    kind = chance.choices(KINDS, [each.weight for each in KINDS])[0]
    # A third of the studies are of somebody who has been here before.
    person = number if chance.random() < 2 / 3 else chance.randrange(number + 1)
    day = _FIRST_DAY + timedelta(days=chance.randrange(_DAYS))
    time = f"{chance.randrange(24):02}{chance.randrange(60):02}{chance.randrange(60):02}"
    uid = f"1.2.826.0.1.3680043.2.1143.{day:%Y%m%d}{time}.{number}"
    of_study = {
        **_person(person),
        "StudyDate": f"{day:%Y%m%d}",
        "StudyTime": time,
        "StudyID": str(number % 10_000),
        "AccessionNumber": f"A{day:%y}-{number:07}",
        "StudyDescription": chance.choice(kind.descriptions),
        "ReferringPhysicianName": _name(random.Random(number % 400)),
        "PatientAge": f"{chance.randrange(100):03}Y",
        "StudyInstanceUID": uid,
    }
    instances = []
    for series in range(1, kind.series + 1):
        of_series = {
            **of_study,
            "SeriesInstanceUID": f"{uid}.{series}",
            "SeriesNumber": series,
            "Modality": kind.modality,
            "SeriesDescription": f"{kind.modality} {series}",
            "SeriesDate": f"{day:%Y%m%d}",
            "SeriesTime": time,
            "Manufacturer": "Hilum",
            "StationName": f"{kind.modality}{number % 5}",
            "InstitutionName": "Seeded",
        }
        instances += [_instance(of_series, kind, place, day) for place in range(kind.instances)]
    return instances


def _instance(of_series: dict[str, Any], kind: Kind, place: int, day: date) -> Instance:
    uid = f"{of_series['SeriesInstanceUID']}.{place + 1}"
    values = {
        **of_series,
        "SOPInstanceUID": uid,
        "SOPClassUID": kind.sop_class_uid,
        "InstanceNumber": place + 1,
        "ContentDate": of_series["StudyDate"],
        "ContentTime": of_series["StudyTime"],
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "Rows": kind.rows,
        "Columns": kind.rows,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "WindowCenter": 40,
        "WindowWidth": 400,
        "PixelSpacing": [0.5, 0.5],
        "SliceLocation": place * 5.0,
    }
    if kind.frames > 1:
        values["NumberOfFrames"] = kind.frames
    identity = Identity(
        values["PatientID"], values["StudyInstanceUID"], values["SeriesInstanceUID"], uid
    )
    pixels = PixelData(0x7FE00010, 1600, kind.rows**2 * 2 * kind.frames, kind.frames)
    attributes = _attributes(values)
    header = Header(
        identity,
        kind.sop_class_uid,
        "1.2.840.10008.1.2.1",
        360,
        attributes,
        pixels,
        {key: text for level in Level for key, text in main_dicom_tags(level, attributes).items()},
    )
    received = datetime(day.year, day.month, day.day, 23, tzinfo=UTC)
    digest = hashlib.sha256(uid.encode()).hexdigest()
    return Instance(header, Blob(digest, pixels.offset + pixels.length), Origin("SEED", received))


def _attributes(values: dict[str, Any]) -> Attributes:
    return {
        json_tag(keyword): {
            "vr": vr_of(keyword),
            "Value": value if isinstance(value, list) else [value],
        }
        for keyword, value in values.items()
    }


def _person(number: int) -> dict[str, Any]:
    chance = random.Random(f"person {number}")
    return {
        "PatientID": f"{number:07}",
        "PatientName": _name(chance),
        "PatientBirthDate": f"{date(1925, 1, 1) + timedelta(days=chance.randrange(36_500)):%Y%m%d}",
        "PatientSex": chance.choice("FM"),
    }


def _name(chance: random.Random) -> dict[str, str]:
    """Return a name; as in life, a few surnames are those of many."""
    families, given = (names.split() for names in chance.choice(NAMES))
    weights = accumulate(1 / place for place in range(1, len(families) + 1))
    family = chance.choices(families, cum_weights=list(weights))[0].split("=")
    first = chance.choice(given).split("=")
    groups = ("^".join(parts) for parts in zip(family, first, strict=True))
    return dict(zip(_NAME_GROUPS, groups, strict=False))


def fill(uri: str, name: str, numbers: range) -> int:
    """Write the studies with these numbers; return how many there are."""
    asyncio.run(_fill(uri, name, numbers))
    return len(numbers)


async def _fill(uri: str, name: str, numbers: range) -> None:
    database = Database.connect(uri, name, timeout_seconds=120)
    try:
        await write(database, numbers)
    finally:
        database.close()


async def write(database: Database, numbers: range) -> None:
    """Write the studies with these numbers, as a node on an empty index would have."""
    studies = [study(number) for number in numbers]
    instances = list(chain.from_iterable(studies))
    try:
        await database.instances.insert_many(
            [{**instance_document(each), "versions": []} for each in instances], ordered=False
        )
    except BulkWriteError as error:
        if any(each["code"] != 11000 for each in error.details["writeErrors"]):
            raise
    series = _by(lambda identity: identity.series, instances)
    await database.series.bulk_write(list(_updates(Level.SERIES, series)), ordered=False)
    await derive_series(database, series)
    by_study = _by(lambda identity: identity.study, instances)
    await database.studies.bulk_write(list(_updates(Level.STUDY, by_study)), ordered=False)
    await derive_studies(database, by_study)


def _by(key: Any, instances: list[Instance]) -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = {}
    for instance in instances:
        found.setdefault(key(instance.header.identity), []).append(instance)
    return found


def _updates(level: Level, entities: dict[str, list[Instance]]) -> Iterator[UpdateOne]:
    for key, instances in entities.items():
        # All say the same of what contains them.
        yield UpdateOne({"_id": key}, entity_update(level, instances[:1], None), upsert=True)


async def _prepare(uri: str, name: str) -> None:
    database = Database.connect(uri, name)
    try:
        await database.ensure_schema()
    finally:
        database.close()


def main() -> None:
    """Seed what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--uri", required=True, help="connection string of a MongoDB")
    parser.add_argument("--database", default="hilum", help="its name (default: %(default)s)")
    parser.add_argument("--studies", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--start", type=int, default=0, help="number of the first study")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    asyncio.run(_prepare(given.uri, given.database))
    end = given.start + given.studies
    parts = [range(i, min(i + _AT_ONCE, end)) for i in range(given.start, end, _AT_ONCE)]
    columns = (*Progress.get_default_columns()[:3], MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(given.processes) as pool,
    ):
        bar = progress.add_task("studies", total=given.studies)
        tasks = [pool.submit(fill, given.uri, given.database, part) for part in parts]
        for task in as_completed(tasks):
            progress.advance(bar, task.result())


if __name__ == "__main__":
    main()

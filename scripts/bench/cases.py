"""What is measured: one function a group, each yielding its figures from a running peer."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from scripts.bench import drivers, http_load, processes
from scripts.bench.data import FRAMES, Batch, Corpus
from scripts.bench.http_load import Asked
from scripts.bench.peers import Node, Peer

_FIND_REPEATS: Final = 10
_RETRIEVE_REPEATS: Final = 3
_CLIENTS: Final = 4
_PICTURES: Final = 60
#: For how long at least pictures are asked for again: one after the other they take no time.
_AGAIN_SECONDS: Final = 2.0
_DICOM_WEB_REPEATS: Final = 10
#: After which all have prepared what they prepare of a study that has gone quiet.
_QUIET_SECONDS: Final = 12.0
_DICOM_WEB: Final = "/dicom-web"
_JSON: Final = "application/dicom+json"
_FILES: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
# What a node does after its last answer is part of what an instance costs.
_AFTERWARDS_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Case:
    """A line of the report."""

    group: str
    title: str
    unit: str
    less_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement of a case."""

    case: Case
    value: float


def prepare(peer: Peer, corpus: Corpus) -> None:
    """Store what is queried and retrieved; it warms the peer up as well."""
    for batch in (corpus.slices, corpus.tiles, corpus.multi_frame):
        peer.send(batch.folders)
    peer.prepared_at = time.monotonic()


def ingest(peer: Peer, corpus: Corpus) -> Iterator[Figure]:
    """Send batches with storescu, from its start to its end."""
    group = "Ingest"
    cpu: dict[str, float] = {}
    sender = 0.0
    for name, batch in corpus.ingest.items():
        before = processes.cpu_seconds(peer.pid)
        ran = peer.send(batch.folders, nagle="Nagle" in name)
        time.sleep(_AFTERWARDS_SECONDS)
        cpu[name] = (processes.cpu_seconds(peer.pid) - before) / batch.count
        if name == "slices, 1 association":
            sender = ran.cpu_seconds / batch.count
        _require_stored(peer, batch)
        if name == "multi-frame":
            yield Figure(Case(group, title_of(name), "MB/s"), batch.size_bytes / ran.seconds / 1e6)
        else:
            yield Figure(Case(group, title_of(name), "instances/s"), batch.count / ran.seconds)
    for name in ("slices, 1 association", "slices, 4 associations", "tiny"):
        case = Case(group, f"CPU, {title_of(name)}", "ms/instance", less_is_better=True)
        yield Figure(case, 1000 * cpu[name])
    case = Case(group, "CPU of the sender meanwhile", "ms/instance", less_is_better=True)
    yield Figure(case, 1000 * sender)
    memory = processes.memory_bytes(peer.pid) / 1e6
    yield Figure(Case(group, "memory afterwards", "MB", less_is_better=True), memory)


def title_of(name: str) -> str:
    """Return how a batch is called in the report."""
    kinds = {
        "slices": "CT 512 × 512",
        "tiles": "CR 100 KB",
        "tiny": "CR 64 KB",
        "multi-frame": f"XA of {FRAMES} frames",
    }
    kind, comma, rest = name.partition(", ")
    return kinds[kind] + comma + rest.replace("Nagle", "a sender with Nagle")


def _require_stored(peer: Peer, batch: Batch) -> None:
    """Ask for what was sent: fast is who has it, not who says so."""
    if not isinstance(peer, Node):
        return
    found = sum(
        drivers.count_matches(peer.called, _instances_of(study_uid, series_uid))
        for study_uid, series_uid in batch.series
    )
    if found != batch.count:
        raise ValueError(f"{peer.name} finds {found} of {batch.count} instances")


def _instances_of(study_uid: str, series_uid: str) -> dict[str, str]:
    return {
        "QueryRetrieveLevel": "IMAGE",
        "StudyInstanceUID": study_uid,
        "SeriesInstanceUID": series_uid,
        "SOPInstanceUID": "",
        "SOPClassUID": "",
        "InstanceNumber": "",
    }


def find(node: Node, corpus: Corpus) -> Iterator[Figure]:
    """Ask with findscu, the same query several times on one association."""
    slices, tiles = corpus.slices, corpus.tiles
    accession_number = slices.images[0].patient_id
    study = {
        "QueryRetrieveLevel": "STUDY",
        "StudyInstanceUID": "",
        "PatientID": "",
        "PatientName": "",
        "StudyDate": "",
        "StudyDescription": "",
        "ModalitiesInStudy": "",
        "NumberOfStudyRelatedInstances": "",
    }
    queries = (
        (
            f"the {slices.count} instances of a series",
            _instances_of(*slices.series[0]),
            slices.count,
        ),
        (f"{tiles.count} studies by name", study | {"PatientName": "Many*"}, tiles.count),
        (
            "1 study by accession number",
            study | {"AccessionNumber": accession_number},
            1,
        ),
    )
    for title, keys, expected in queries:
        found = drivers.count_matches(node.called, keys)
        if found != expected:
            raise ValueError(f"{node.name} finds {found} of {expected}: {title}")
        ran = drivers.find(node.called, keys, _FIND_REPEATS)
        case = Case("C-FIND", title, "ms/query", less_is_better=True)
        yield Figure(case, 1000 * ran.seconds / _FIND_REPEATS)


def retrieve(node: Node, corpus: Corpus) -> Iterator[Figure]:
    """Have a study sent to storescp, and fetch it with getscu; both drop it."""
    for title, retrieved in (("C-MOVE", drivers.move), ("C-GET", drivers.get)):
        for batch, what, unit in (
            (corpus.slices, f"{corpus.slices.count} × CT 512 × 512", "instances/s"),
            (corpus.multi_frame, title_of("multi-frame"), "MB/s"),
        ):
            amount = batch.count if unit == "instances/s" else batch.size_bytes / 1e6
            seconds = median(
                retrieved(node.called, batch.images[0].study_uid).seconds
                for _ in range(_RETRIEVE_REPEATS)
            )
            yield Figure(Case("Retrieve", f"{title}, {what}", unit), amount / seconds)


def pictures(node: Node, corpus: Corpus) -> Iterator[Figure]:
    """Look at frames for the first time, again, and with an ETag."""
    study_uid = corpus.slices.images[0].study_uid
    every = [
        Asked(node.picture_path(study_uid, image.orthanc_id, index, 0))
        for index, image in enumerate(corpus.slices.images[:_PICTURES])
    ]
    alone = len(every) // 3
    group = "PNG"

    first = http_load.ask(node.http_url, every[:alone], 1).require(200)
    case = Case(group, "first view, 1 client", "ms", less_is_better=True)
    yield Figure(case, first.median_milliseconds)
    first = http_load.ask(node.http_url, every[alone:], _CLIENTS).require(200)
    yield Figure(Case(group, f"first view, {_CLIENTS} clients", "1/s"), first.per_second)

    run = corpus.multi_frame.images[0]
    frames = [
        Asked(node.picture_path(run.study_uid, run.orthanc_id, frame, frame))
        for frame in range(0, FRAMES, 8)
    ]
    first = http_load.ask(node.http_url, frames, 1).require(200)
    case = Case(group, f"first view of a frame of {FRAMES}, 1 client", "ms", less_is_better=True)
    yield Figure(case, first.median_milliseconds)

    again = http_load.ask(node.http_url, every, _CLIENTS, _AGAIN_SECONDS).require(200)
    yield Figure(Case(group, f"seen again, {_CLIENTS} clients", "1/s"), again.per_second)
    known = [
        Asked(asked.path, answer.etag)
        for asked, answer in zip(every, again.answers, strict=False)
        if answer.etag is not None
    ]
    if known:
        unchanged = http_load.ask(node.http_url, known, _CLIENTS, _AGAIN_SECONDS).require(304)
        case = Case(group, f"304 Not Modified, {_CLIENTS} clients", "1/s")
        yield Figure(case, unchanged.per_second)


def qido(node: Node, corpus: Corpus) -> Iterator[Figure]:
    """Search for the instances of a series over DICOMweb."""
    slices = corpus.slices
    question = Asked(f"{_series_path(slices)}/instances", accept=_JSON)
    case = Case("QIDO-RS", f"the {slices.count} instances of a series", "ms", less_is_better=True)
    yield Figure(case, _ask_again(node, question, slices.count))


def metadata(node: Node, corpus: Corpus) -> Iterator[Figure]:
    """Fetch the attributes of a series' instances: just stored, again, and a while later."""
    node.send(corpus.fresh.folders)
    for batch, when in ((corpus.fresh, "just stored"), (corpus.slices, "stored a while ago")):
        question = Asked(f"{_series_path(batch)}/metadata", accept=_JSON)
        title = f"{batch.count} instances {when}"
        first = http_load.ask(node.http_url, [question], 1).require(200)
        _require_entries(node, first.answers[0].body, batch.count)
        case = Case("Metadata", f"{title}, first", "ms", less_is_better=True)
        yield Figure(case, first.median_milliseconds)
        case = Case("Metadata", f"{title}, again", "ms", less_is_better=True)
        yield Figure(case, _ask_again(node, question, batch.count))
        if batch is corpus.fresh:
            time.sleep(max(0, node.prepared_at + _QUIET_SECONDS - time.monotonic()))


def wado(node: Node, corpus: Corpus) -> Iterator[Figure]:
    """Fetch the files of a study over DICOMweb, and drop them."""
    slices = corpus.slices
    study_uid, _ = slices.series[0]
    question = Asked(f"{_DICOM_WEB}/studies/{study_uid}", accept=_FILES)
    seconds = []
    for _ in range(_RETRIEVE_REPEATS):
        downloaded = http_load.download(node.http_url, question)
        # Less than the files by what precedes their data sets at most.
        if downloaded.size_bytes < slices.size_bytes - 1024 * slices.count:
            raise ValueError(f"{node.name} sends {downloaded.size_bytes} bytes of a study")
        seconds.append(downloaded.seconds)
    case = Case("WADO-RS", f"a study of {slices.count} × CT 512 × 512", "instances/s")
    yield Figure(case, slices.count / median(seconds))


def _series_path(batch: Batch) -> str:
    study_uid, series_uid = batch.series[0]
    return f"{_DICOM_WEB}/studies/{study_uid}/series/{series_uid}"


def _ask_again(node: Node, question: Asked, entries: int) -> float:
    """Return what one client waits for an answer of so many entries, in milliseconds."""
    load = http_load.ask(node.http_url, [question] * _DICOM_WEB_REPEATS, 1).require(200)
    _require_entries(node, load.answers[0].body, entries)
    return load.median_milliseconds


def _require_entries(node: Node, body: bytes, expected: int) -> None:
    if (count := len(json.loads(body))) != expected:
        raise ValueError(f"{node.name} answers with {count} of {expected} instances")


Measure = Callable[[Node, Corpus], Iterator[Figure]]

#: What only nodes can do, by the name it is asked for; ingest everybody can.
OF_NODES: Final[dict[str, Measure]] = {
    "find": find,
    "retrieve": retrieve,
    "png": pictures,
    "qido": qido,
    "metadata": metadata,
    "wado": wado,
}
#: Those of them that need DICOMweb.
DICOM_WEB: Final = frozenset({"qido", "metadata", "wado"})
GROUPS: Final = ("ingest", *OF_NODES)

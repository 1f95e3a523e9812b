"""Logging: every line goes one way, and no patient is in any of them."""

import io
import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from hilum.config.logging import configure

Lines = Callable[[], list[dict[str, Any]]]


pytestmark = pytest.mark.usefixtures("logging_as_it_was")


@pytest.fixture
def lines() -> Lines:
    stream = io.StringIO()
    configure("json", "debug", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_how_grave_and_where(lines: Lines) -> None:
    structlog.get_logger("hilum.scp.store").info("stored", sop_instance_uid="1.2.3", size_bytes=7)
    (line,) = lines()
    assert line["event"] == "stored"
    assert line["level"] == "info"
    assert line["logger"] == "hilum.scp.store"
    assert line["sop_instance_uid"] == "1.2.3"
    assert line["size_bytes"] == 7
    assert line["time"].endswith("Z")
    assert "T" in line["time"]


def test_libraries_and_warnings_take_the_same_way(lines: Lines) -> None:
    logging.getLogger("pynetdicom.acse").error("association %s", "aborted")
    warnings.warn("getting old", FutureWarning, stacklevel=1)
    line, warning = lines()
    assert (line["event"], line["logger"]) == ("association aborted", "pynetdicom.acse")
    assert "getting old" in warning["event"]
    assert warning["logger"] == "py.warnings"


@pytest.mark.parametrize(
    ("logger", "level"),
    [("pynetdicom.service-c", "info"), ("aiohttp.access", "info"), ("pydicom", "warning")],
)
def test_libraries_that_quote_what_they_are_handed_are_quiet_at_any_level(
    lines: Lines, logger: str, level: str
) -> None:
    getattr(logging.getLogger(logger), level)("(0010,0010) PN [DOE^JANE]")
    assert lines() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"patient_name": "Doe Jane"},
        {"PatientName": "Doe Jane"},
        {"patientName": "Doe Jane"},
        {"patient_id": "Doe Jane"},
        {"PatientBirthDate": "Doe Jane"},
        {"ReferringPhysicianName": "Doe Jane"},
        {"operators_name": "Doe Jane"},
        {"identifier": {"anything": "Doe Jane"}},
        {"match": {"attributes": [{"PatientName": "Doe Jane"}]}},
        {"reason": "no such patient: 'Doe^Jane Mary^^Dr'"},
        {"reason": ValueError("Doe^Jane")},
        {"names": ("山田^太郎", "Doe^Jane")},
        {"value": PersonName("Doe Jane")},
    ],
)
def test_a_patient_never_reaches_a_line(lines: Lines, fields: dict[str, Any]) -> None:
    structlog.get_logger("hilum").warning("seen", uid="1.2.840.10008.1.2", **fields)
    (line,) = lines()
    written = json.dumps(line, ensure_ascii=False)
    for part in ("Doe", "Jane", "Mary", "山田", "太郎"):
        assert part not in written
    assert line["uid"] == "1.2.840.10008.1.2"


def test_a_data_set_never_reaches_a_line(lines: Lines) -> None:
    dataset = Dataset()
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = "4711"
    structlog.get_logger("hilum").warning("seen", what=dataset, element=dataset["PatientID"])
    (line,) = lines()
    assert (line["what"], line["element"]) == ("***", "***")


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_traceback_shows_code_and_no_values(format_: Any) -> None:
    stream = io.StringIO()
    configure(format_, "info", stream)
    patient = "Doe^Jane"
    try:
        int(patient)
    except ValueError:
        structlog.get_logger("hilum").exception("failed")
        logging.getLogger("aiohttp.server").exception("failed as well")
    written = stream.getvalue()
    assert written.count("Traceback") == 2
    assert "test_logging.py" in written
    assert "Jane" not in written
    assert "Doe" not in written


def test_a_password_never_reaches_a_line(lines: Lines) -> None:
    logging.getLogger("hilum").warning("connecting to %s", "mongodb://hilum:s3cret@db/")
    structlog.get_logger("hilum").warning("connecting", uri="mongodb://hilum:s3cret@db/")
    written = json.dumps(lines())
    assert "s3cret" not in written
    assert written.count("mongodb://hilum:***@db/") == 2


def test_the_level_is_kept() -> None:
    stream = io.StringIO()
    configure("json", "warning", stream)
    log = structlog.get_logger("hilum")
    log.info("quiet")
    log.warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("format_", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("console", io.StringIO(), False),
    ],
)
def test_the_format_fits_the_reader(format_: Any, stream: io.StringIO, is_json: bool) -> None:
    configure(format_, "info", stream)
    structlog.get_logger("hilum").info("stored", sop_instance_uid="1.2.3")
    assert stream.getvalue().startswith("{") is is_json
    assert "1.2.3" in stream.getvalue()

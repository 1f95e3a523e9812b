"""Logging: one stream of structured lines on stderr, and no patient in any of them.

Our own lines and those of the libraries (pynetdicom, aiohttp, pymongo, warnings) take the
same way through the same processors. What the node logs on purpose are UIDs, digests and
AE titles; the processors here are the safety net below that rule.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Final, Literal, TextIO

import structlog
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName
from structlog.typing import EventDict, Processor

from hilum.config.masking import MASK, mask_credentials
from hilum.core.levels import LEVEL_OF, STORED_KEYWORDS, Level, vr_of

# Libraries that quote what they were handed: pynetdicom prints whole identifiers below
# WARNING, pydicom the values it finds odd, the access log of aiohttp every query string.
_QUIETED: Final = {
    "pynetdicom": logging.WARNING,
    "pydicom": logging.ERROR,
    "aiohttp.access": logging.WARNING,
    "pymongo": logging.WARNING,
    "asyncio": logging.INFO,
}
# A person name as DICOM writes it, family^given, wherever it stands in a sentence: it ends
# at a quote or with the line, because given names may contain blanks.
_PERSON_NAME: Final = re.compile(r"[^\s'\"^=(\[]+\^[^'\"\n^]*(?:\^[^'\"\n]*)?")


def _folded(key: str) -> str:
    return key.replace("_", "").replace("-", "").casefold()


#: Fields that never reach a line: everything about the patient, and every person's name.
_PATIENT_FIELDS: Final = frozenset(
    _folded(keyword)
    for keyword, level in LEVEL_OF.items()
    if keyword in STORED_KEYWORDS[Level.PATIENT] or vr_of(keyword) == "PN"
) | {"patient", "identifier", "dataset"}


def configure(
    format_: Literal["auto", "json", "console"],
    level: str,
    stream: TextIO | None = None,
    worker: int | None = None,
) -> None:
    """Send every log line of the process to `stream`, stderr if None.

    Parameters
    ----------
    format_
        ``json`` for one object a line, ``console`` for people, ``auto`` for ``console``
        on a terminal and ``json`` elsewhere.
    level
        The least severe level that is written.
    worker
        Which worker of its node this process is; every line tells it.
    """
    stream = stream or sys.stderr
    as_console = format_ == "console" or (format_ == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        _without_patients,
    ]
    if worker is not None:
        shared.append(_of_worker(worker))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _console(stream) if as_console else _json(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIETED.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _of_worker(worker: int) -> Processor:
    # No context variable: threads do not inherit those.
    def add(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {**event, "worker": worker}

    return add


def _console(stream: TextIO) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), timestamp_key="time", pad_event_to=32, sort_keys=False
    )


def _json() -> Processor:
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def _without_patients(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Mask patients and credentials, whoever wrote the line."""
    return {key: _masked(key, value) for key, value in event.items()}


def _masked(key: str, value: Any) -> Any:
    if key.startswith("_"):  # structlog's own, never rendered
        return value
    if _tells_of_patients(key) or isinstance(value, Dataset | DataElement | PersonName):
        return MASK
    if isinstance(value, Mapping | MutableMapping):
        return {str(name): _masked(str(name), part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked("", part) for part in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = mask_credentials(str(value))
    # The pattern looks for a caret from each character on: not where there is none.
    return _PERSON_NAME.sub(MASK, text) if "^" in text else text


@lru_cache(maxsize=1024)
def _tells_of_patients(key: str) -> bool:
    return _folded(key) in _PATIENT_FIELDS

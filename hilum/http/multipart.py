"""A multipart parser without I/O (RFC 2046 5.1.1, RFC 7578, RFC 2387): bytes in, events out.

It never holds more than one fed piece and a part's headers, whatever the size of a part,
and gives the same parts however the bytes are cut into pieces.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value
from enum import Enum, auto
from typing import Final, TypeAlias

from hilum.core.errors import Invalid

#: RFC 2046 5.1.1: 1 to 70 characters, the last one no blank.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_HEADERS_BYTES: Final = 16 << 10
_PADDING_BYTES: Final = 256


class Malformed(Invalid):
    """The body is not the multipart message its Content-Type announces."""

    code = "malformed-multipart"


@dataclass(frozen=True, slots=True)
class PartBegins:
    """The headers of the next part."""

    name: str
    """Of the form field (RFC 7578 4.2); empty without one."""
    file_name: str | None
    """As the client wrote it: to be shown, never to be used as a path."""
    content_type: str = ""
    """As it stands, parameters and all; empty without one."""
    location: str = ""
    """Of multipart/related: what the other parts call this one by (RFC 2557 4.2)."""


@dataclass(frozen=True, slots=True)
class PartData:
    """A piece of the part's content."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part is complete."""


Event: TypeAlias = PartBegins | PartData | PartEnds


class _State(Enum):
    PREAMBLE = auto()
    DELIMITER = auto()
    HEADERS = auto()
    BLANK_LINE = auto()
    CONTENT = auto()
    EPILOGUE = auto()


class MultipartParser:
    """Splits one multipart body.

    Parameters
    ----------
    boundary
        Parameter of the Content-Type.

    Raises
    ------
    Malformed
        `boundary` cannot be one.
    """

    def __init__(self, boundary: str) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise Malformed("the Content-Type has no usable boundary")
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        # The first delimiter may stand at the very start, without its line break.
        self._buffer = bytearray(b"\r\n")
        self._state = _State.PREAMBLE
        self._steps: dict[_State, Callable[[], tuple[Event, ...] | None]] = {
            _State.PREAMBLE: self._skip_preamble,
            _State.DELIMITER: self._end_delimiter,
            _State.HEADERS: self._take_headers,
            _State.BLANK_LINE: self._end_headers,
            _State.CONTENT: self._content,
            _State.EPILOGUE: self._skip_epilogue,
        }

    @property
    def complete(self) -> bool:
        """Whether the closing delimiter has been seen."""
        return self._state is _State.EPILOGUE

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that `data` completes. Exhaust it before feeding more.

        Raises
        ------
        Malformed
            A delimiter or a part's headers are not as they must be.
        """
        self._buffer += data
        while (events := self._steps[self._state]()) is not None:
            yield from events

    def end(self) -> tuple[Event, ...]:
        """Take note that the body has ended; return the events this completes: none here.

        Raises
        ------
        Malformed
            The closing delimiter has not been seen.
        """
        if not self.complete:
            raise Malformed("the body ended before its closing boundary")
        return ()

    # A step returns the events it found, None when it needs more bytes.

    def _skip_preamble(self) -> tuple[Event, ...] | None:
        self._take_content()
        return None if self._state is _State.PREAMBLE else ()

    def _content(self) -> tuple[Event, ...] | None:
        content = self._take_content()
        data = (PartData(content),) if content else ()
        if self._state is not _State.CONTENT:
            return (*data, PartEnds())
        return data or None

    def _skip_epilogue(self) -> None:
        self._buffer.clear()

    def _take_content(self) -> bytes:
        """Return what certainly lies before the next delimiter, and step over it if there."""
        at = self._buffer.find(self._delimiter)
        if at >= 0:
            self._state = _State.DELIMITER
            content = self._copy(at)
            del self._buffer[: at + len(self._delimiter)]
        else:
            size = max(0, len(self._buffer) - len(self._delimiter) + 1)
            content = self._copy(size)
            del self._buffer[:size]
        return content

    def _copy(self, size: int) -> bytes:
        with memoryview(self._buffer) as view:
            return bytes(view[:size])

    def _end_delimiter(self) -> tuple[Event, ...] | None:
        """Read the rest of the delimiter's line: ``--`` closes the message."""
        if len(self._buffer) < 2:
            return None
        if self._buffer.startswith(b"--"):
            self._state = _State.EPILOGUE
            return ()
        end = self._buffer.find(b"\r\n", 0, _PADDING_BYTES)
        if end < 0:
            if len(self._buffer) >= _PADDING_BYTES:
                raise Malformed("a boundary is not followed by the end of its line")
            return None
        if self._buffer[:end].strip(b" \t"):
            raise Malformed("a boundary is followed by other characters")
        # The line break stays: with it, headers always begin and end alike, even if none.
        del self._buffer[:end]
        self._state = _State.HEADERS
        return ()

    def _take_headers(self) -> tuple[Event, ...] | None:
        end = self._buffer.find(b"\r\n\r\n", 0, _HEADERS_BYTES)
        if end < 0:
            if len(self._buffer) >= _HEADERS_BYTES:
                raise Malformed(f"the headers of a part exceed {_HEADERS_BYTES} bytes")
            return None
        text = self._buffer[2:end].decode("utf-8", "replace")
        del self._buffer[: end + 2]
        self._state = _State.BLANK_LINE
        headers = HeaderParser().parsestr(text)
        begins = PartBegins(
            _parameter(headers, "name") or "",
            _parameter(headers, "filename"),
            " ".join(str(headers.get("Content-Type", "")).split()),
            "".join(str(headers.get("Content-Location", "")).split()),
        )
        return (begins,)

    def _end_headers(self) -> tuple[Event, ...] | None:
        """Drop the line break after the headers, unless it is the next delimiter's own.

        A part without content may do without its blank line (RFC 2046 5.1.1, body-part).
        """
        if len(self._buffer) < len(self._delimiter):
            return None
        if not self._buffer.startswith(self._delimiter):
            del self._buffer[:2]
        self._state = _State.CONTENT
        return ()


def _parameter(headers: Message, name: str) -> str | None:
    value = headers.get_param(name, header="content-disposition")
    try:
        return None if value is None else collapse_rfc2231_value(value)
    except ValueError as error:
        # A character set with a NUL in its name, which codecs refuse in a way of their own.
        raise Malformed("a part's headers name an impossible character set") from error


def boundary_of(content_type: str) -> str:
    """Return the boundary that a Content-Type announces; empty if there is none."""
    headers = Message()
    headers["Content-Type"] = content_type
    try:
        return headers.get_boundary("")
    except ValueError:  # a character set with a NUL in its name
        return ""

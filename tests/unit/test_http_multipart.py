"""The multipart parser, against messages that others have written."""

import asyncio
import email.generator
import io
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.http.multipart import (
    Malformed,
    MultipartParser,
    PartBegins,
    PartData,
    PartEnds,
    boundary_of,
)


def parts(parser: MultipartParser, *pieces: bytes) -> list[tuple[str, str | None, bytes]]:
    """Return name, file name and content of each complete part."""
    found: list[tuple[str, str | None, bytes]] = []
    begun: PartBegins | None = None
    content = b""
    for piece in pieces:
        for event in parser.feed(piece):
            match event:
                case PartBegins():
                    assert begun is None
                    begun, content = event, b""
                case PartData(data=data):
                    assert begun is not None
                    assert data
                    content += data
                case PartEnds():
                    assert begun is not None
                    found.append((begun.name, begun.file_name, content))
                    begun = None
    return found


def cut(message: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(message) + 1) for place in places} | {len(message)})
    return [message[start:end] for start, end in zip([0, *ends], ends, strict=False)]


async def by_aiohttp(fields: list[tuple[str, str, bytes]]) -> tuple[bytes, str]:
    """Return a message as aiohttp's client writes it, and its boundary."""
    form = aiohttp.FormData(default_to_multipart=True)
    for name, file_name, content in fields:
        form.add_field(name, io.BytesIO(content), filename=file_name)
    payload = form()

    class Sink:
        data = b""

        async def write(self, chunk: bytes) -> None:
            self.data += bytes(chunk)

    sink: Any = Sink()
    await payload.write(sink)
    return sink.data, boundary_of(payload.headers["Content-Type"])


# Content that looks like delimiters from near and far.
tricky = st.lists(
    st.sampled_from([b"\r\n", b"--", b"\r", b"\n", b"-", b"x", b"\r\n--", b"\0"]), max_size=30
).map(b"".join)
fields = st.lists(
    st.tuples(
        st.sampled_from(["file", "patientID"]),
        st.sampled_from(["a.dcm", "Müller.dcm", "名前 1.dcm", "a;b.dcm"]),
        tricky | st.binary(max_size=200),
    ),
    min_size=1,
    max_size=4,
)


@given(fields, st.lists(st.integers(0, 5000), max_size=12))
def test_parts_are_what_aiohttp_wrote_however_the_message_is_cut(
    written: list[tuple[str, str, bytes]], places: list[int]
) -> None:
    message, boundary = asyncio.run(by_aiohttp(written))
    parser = MultipartParser(boundary)
    found = parts(parser, *cut(message, places))
    # aiohttp writes the names of files percent-encoded, as browsers do with quotes.
    assert [(name, unquote(file or ""), content) for name, file, content in found] == written
    assert parser.complete


@given(tricky, st.lists(st.integers(0, 400), max_size=6))
def test_contents_with_beginnings_of_the_boundary_come_out_whole(
    noise: bytes, places: list[int]
) -> None:
    content = noise + b"\r\n--boundar" + noise
    message = b'--boundary\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + (
        content + b"\r\n--boundary--\r\n"
    )
    assert parts(MultipartParser("boundary"), *cut(message, places)) == [("file", None, content)]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_give_parts_or_malformed_and_nothing_else(
    noise: bytes, places: list[int]
) -> None:
    parser = MultipartParser("b")
    try:
        parts(parser, *cut(b"--b\r\n" + noise, places))
    except Malformed:
        return
    assert parser.complete == (b"\r\n--b--" in b"\r\n--b\r\n" + noise)


def test_a_message_of_the_standard_library_is_understood() -> None:
    message = MIMEMultipart("form-data", boundary="x y")
    part = MIMEBase("application", "octet-stream")
    part.add_header("Content-Disposition", "form-data", name="file")
    part.set_param("filename", "Jürgen.dcm", "Content-Disposition", charset="utf-8")
    part.set_payload("content")
    message.attach(part)
    message.preamble = "for readers of old mail programs"
    message.epilogue = "after the end"
    buffer = io.BytesIO()
    flat = email.generator.BytesGenerator(buffer, policy=message.policy.clone(linesep="\r\n"))
    flat.flatten(message)
    parser = MultipartParser(boundary_of(str(message["Content-Type"])))
    assert parts(parser, buffer.getvalue()) == [("file", "Jürgen.dcm", b"content")]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_part_may_be_empty_with_and_without_its_blank_line(size: int) -> None:
    message = b"--b\r\nA: b\r\n\r\n\r\n--b\r\nA: b\r\n\r\n--b  \t\r\n\r\nx\r\n--b--"
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    found = parts(MultipartParser("b"), *pieces)
    assert [content for _, _, content in found] == [b"", b"", b"x"]


def test_names_of_a_browser_are_read_as_utf_8() -> None:
    # What Chromium sends for a file called: a"b ü.dcm
    head = 'Content-Disposition: form-data; name="file"; filename="a%22b ü.dcm"'
    message = b"--b\r\n" + head.encode() + b"\r\n\r\nx\r\n--b--\r\n"
    assert parts(MultipartParser("b"), message) == [("file", "a%22b ü.dcm", b"x")]


@pytest.mark.parametrize("boundary", ["", "ends with blank ", "ä", "x" * 71, "a\r\nb"])
def test_a_boundary_that_none_can_be_is_refused(boundary: str) -> None:
    with pytest.raises(Malformed, match="boundary"):
        MultipartParser(boundary)


@pytest.mark.parametrize(
    "message",
    [
        b"--bother\r\n\r\n\r\n--b--",
        b"--b" + b" " * 1000,
        b"--b\r\n" + b"A: b\r\n" * 4000,
    ],
)
def test_faulty_delimiters_and_endless_headers_are_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        parts(MultipartParser("b"), message)


def test_the_parser_keeps_no_more_than_it_was_fed() -> None:
    parser = MultipartParser("b")
    piece = bytes(1 << 16)
    given_back = 0
    for event in parser.feed(b"--b\r\n\r\n" + piece):
        given_back += len(event.data) if isinstance(event, PartData) else 0
    for _ in range(100):
        given_back += sum(len(event.data) for event in parser.feed(piece))  # type: ignore[union-attr]
    assert 101 * len(piece) - given_back < 10


def test_boundary_of_reads_quoted_and_missing_ones() -> None:
    assert boundary_of('multipart/form-data; boundary="a b"') == "a b"
    assert boundary_of("multipart/form-data") == ""

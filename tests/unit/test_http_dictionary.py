"""``GET /api/dicom/dictionary`` against pydicom's own look-up."""

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydicom.datadict import keyword_for_tag, repeater_has_tag, tag_for_keyword

from hilum.http.dictionary import Dictionary, keywords


def test_every_tag_has_its_keyword() -> None:
    known = keywords()
    for keyword in ("PatientName", "PixelData", "RecommendedDisplayFrameRate"):
        assert known[f"{tag_for_keyword(keyword):08X}"] == keyword
    plain = {tag: keyword for tag, keyword in known.items() if "x" not in tag}
    assert len(plain) > 5000
    for tag, keyword in plain.items():
        assert keyword_for_tag(int(tag, 16)) == keyword
    assert repeater_has_tag(0x60023000)
    assert known["60xx3000"] == keyword_for_tag(0x60023000) == "OverlayData"


async def test_a_browser_that_has_it_is_told_so() -> None:
    app = web.Application()
    app.add_routes(Dictionary().routes())
    async with TestClient(TestServer(app)) as client:
        first = await client.get("/api/dicom/dictionary")
        assert (first.status, first.content_type) == (200, "application/json")
        assert (await first.json())["data"]["00100010"] == "PatientName"
        assert first.headers["Content-Encoding"] in {"gzip", "deflate"}
        tag = first.headers["ETag"]
        again = await client.get("/api/dicom/dictionary", headers={"If-None-Match": tag})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)

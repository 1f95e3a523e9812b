"""Which of Orthanc's routes are here: those that pyorthanc knows, but for what the page says."""

import re
from pathlib import Path

import pyorthanc.client
from aiohttp.test_utils import make_mocked_request

from tests.corpus import REPOSITORY
from tests.unit.test_http_docs import application

PAGE = (REPOSITORY / "docs" / "orthanc.md").read_text(encoding="utf-8")
#: Those that are not; "What is not there" on the page tells of each.
NOT_HERE = re.compile(
    r"POST /(patients|studies|series)/\{id_\}/(modify|anonymize)"
    r"|POST /\w+/\{id_\}/(split|merge|reconstruct|export)"
    r"|POST /\w+/\{id_\}/attachments/\{name\}/(compress|uncompress)"
    r"|POST /tools/(bulk-modify|bulk-anonymize|create-dicom|reconstruct)"
    r"|POST /tools/(execute-script|reset|shutdown)"
    r"|POST /modalities/\{id_\}/(find-worklist|storage-commitment)|\w+ /storage-commitment/.*"
    r"|\w+ /peers/.*|GET /plugins/.*|DELETE /jobs/.*/.*|GET /tools"
    r"|\w+ /tools/(log-level-.*|metrics|dicom-conformance|accepted-sop-classes)"
    r"|PUT /tools/(default-encoding|accepted-transfer-syntaxes|log-level)"
    r"|PUT /tools/unknown-sop-class-accepted"
    # As the library misspells them.
    r"|GET /tools/generate-uid_|POST /tools/invalid_ate-tags"
)
EXAMPLES = {"frame": "0", "index": "0", "name": "1024"}


def routes_of_orthanc() -> list[tuple[str, str]]:
    source = Path(pyorthanc.client.__file__).read_text(encoding="utf-8")
    pattern = r'self\._(get|post|put|delete)\(\s*route=f"\{self\.url\}([^"]*)"'
    return sorted({(method.upper(), path) for method, path in re.findall(pattern, source)})


async def test_routes_that_are_not_here_are_those_of_the_page() -> None:
    router, known = application().router, routes_of_orthanc()
    for method, path in known:
        example = re.sub(r"\{(\w+)\}", lambda match: EXAMPLES.get(match[1], "x"), path)
        found = await router.resolve(make_mocked_request(method, example))
        said = NOT_HERE.fullmatch(f"{method} {path}") is None
        assert (found.http_exception is None) == said, (method, path)
    assert f"Of the {len(known)} routes" in PAGE

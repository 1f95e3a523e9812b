"""npm's package of OHIF: fetched by npm, held to its hash, unpacked to live below ``/ohif``.

Built for the root of a host, OHIF's scripts look for each other at ``/``. Here they take the
place they were loaded from, whatever a proxy has put in front of it.
"""

import base64
import hashlib
import json
import re
import secrets
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from hilum.core.errors import Corrupt, Invalid, Temporary
from hilum.http.compression import gzip

PACKAGE: Final = "@ohif/app"
_DIST: Final = "package/dist/"
#: Tells what is in the folder; written last.
_MARK: Final = ".hilum-ohif.json"
#: Raised when what `unpack` makes of a package changes.
_FORM: Final = 1
_FETCH_SECONDS: Final = 1800
#: For developers of OHIF, and a fifth of the whole.
_LEFT_OUT: Final = ".map"
_COMPRESSED: Final = frozenset({".css", ".js", ".json", ".mjs", ".svg", ".wasm"})
_SMALLEST_COMPRESSED: Final = 1024

#: How OHIF's build says that its scripts are at the root, and what is said instead: the
#: path up to /ohif/ of the page or the worker that the script runs in.
_ROOT: Final = b'__webpack_require__.p = "/";'
_WHERE_IT_IS: Final = (
    b"__webpack_require__.p = "
    rb'(self.location.pathname.match(/^.*?\/ohif\//) || ["/ohif/"])[0];'
)


@dataclass(frozen=True, slots=True)
class Origin:
    """A version of the package."""

    version: str
    integrity: str | None
    """Subresource integrity (``sha512-…``) of its file; None: the registry's word is taken."""


#: The version that is tested with this one of Hilum.
PINNED: Final = Origin(
    "3.13.2",
    "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==",
)


def installed(folder: Path) -> str | None:
    """Return the version that `folder` holds, None without one that this Hilum can serve."""
    try:
        mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(mark["version"]) if mark.get("form") == _FORM else None


def fetch(
    origin: Origin, folder: Path, environment: Mapping[str, str], registry: str | None = None
) -> Path:
    """Have npm put the package's file into `folder`, and return it.

    npm knows the registry, mirror, proxy, certificates and credentials of its user, and
    checks what it fetches against what the registry says of it.

    Raises
    ------
    Invalid
        There is no npm, or no such version.
    Temporary
        The registry cannot be reached.
    """
    npm = shutil.which("npm", path=environment.get("PATH"))
    if npm is None:
        raise Invalid(
            f"there is no npm to fetch {PACKAGE} with; install it, or give the file of the "
            f"package with --from"
        )
    if not re.fullmatch(r"[0-9A-Za-z.+-]{1,64}", origin.version):
        raise Invalid(f"not a version: {origin.version[:64]!r}")
    command = [npm, "pack", f"{PACKAGE}@{origin.version}", "--pack-destination", str(folder)]
    if registry is not None:
        command.append(f"--registry={registry}")
    try:
        ran = subprocess.run(  # noqa: S603 - a list, of npm as it is found and a checked version
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Temporary(f"npm has not fetched {PACKAGE} in {_FETCH_SECONDS} s") from error
    files = list(folder.glob("*.tgz"))
    if ran.returncode or len(files) != 1:
        said = [line for line in ran.stderr.splitlines() if line.startswith("npm error")]
        reason = " ".join(line.removeprefix("npm error").strip() for line in said[:4])
        kind = Invalid if "E404" in reason or "ETARGET" in reason else Temporary
        raise kind(f"npm cannot fetch {PACKAGE} {origin.version}: {reason or 'no reason given'}")
    return files[0]


def unpack(package: Path, origin: Origin, folder: Path, progress: Callable[[int], object]) -> None:
    """Lay what a browser needs of the package's file into `folder`, whole or not at all.

    Parameters
    ----------
    progress
        Called with how many bytes of the file have been read.

    Raises
    ------
    Corrupt
        The file is not the one it should be.
    Invalid
        It is no package of OHIF, or one built in a way that is not known here; or `folder`
        holds something else.
    """
    _check_integrity(package, origin)
    if folder.exists() and not (folder / _MARK).exists() and any(folder.iterdir()):
        raise Invalid(f"{folder} holds something else than OHIF")
    new = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    old = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        _lay(package, new, progress)
        mark = {"version": origin.version, "integrity": _integrity(package), "form": _FORM}
        (new / _MARK).write_text(json.dumps(mark), encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_integrity(package: Path, origin: Origin) -> None:
    if origin.integrity is not None and _integrity(package) != origin.integrity:
        raise Corrupt(f"{package.name} is not {PACKAGE} {origin.version}: its hash is another")


def _integrity(package: Path) -> str:
    with package.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def _lay(package: Path, folder: Path, progress: Callable[[int], object]) -> None:
    changed = 0
    try:
        with package.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|gz") as archive:
            for path, content in _files(archive):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                data = content.read()
                if target.suffix == ".js" and _ROOT in data:
                    changed += 1
                    data = data.replace(_ROOT, _WHERE_IT_IS)
                elif target.name == "manifest.json":
                    data = data.replace(b'"/assets/', b'"assets/')
                elif target.suffix == ".css":
                    data = data.replace(b"url(/", b"url(" + b"../" * (len(path.parts) - 1))
                target.write_bytes(data)
                if target.suffix in _COMPRESSED and len(data) >= _SMALLEST_COMPRESSED:
                    # Sent in its place to browsers that take it, which is all of them.
                    target.with_name(f"{target.name}.gz").write_bytes(gzip(data))
                progress(raw.tell())
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Corrupt(f"{package.name} is damaged: {error}") from error
    if not changed or not (folder / "index.html").exists():
        raise Invalid(f"{package.name} is no build of OHIF that can be served below /ohif")


def _files(archive: tarfile.TarFile) -> Iterator[tuple[PurePosixPath, BinaryIO]]:
    """Yield the files of the archive that are to be served, by path below the folder.

    Nothing but regular files, with names that lead nowhere else.
    """
    for member in archive:
        if not member.isreg() or not member.name.startswith(_DIST):
            continue
        path = PurePosixPath(member.name.removeprefix(_DIST))
        if path.is_absolute() or ".." in path.parts or path.suffix == _LEFT_OUT:
            continue
        content = archive.extractfile(member)
        if content is not None:
            yield path, content  # type: ignore[misc]

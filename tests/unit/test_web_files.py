"""The page's files fit together: what they import, link and draw is there.

There is no build step that would notice, and a browser does only where a path leads.
"""

import re
from pathlib import Path

import pytest

from hilum.http.pages import WEB_FOLDER

MODULES = sorted(WEB_FOLDER.rglob("*.js"))
INDEX = (WEB_FOLDER / "index.html").read_text()
IMPORT = re.compile(r"^import \{([^}]*)\} from \"([^\"]+)\";", re.MULTILINE)
NAMESPACE = re.compile(r"^import \* as (\w+) from \"([^\"]+)\";", re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function\*?|class|const|let) (\w+)", re.MULTILINE)


def exports(module: Path) -> set[str]:
    return set(EXPORT.findall(module.read_text()))


def imported(module: Path) -> dict[Path, set[str]]:
    """Return the names that a module takes from others, by file."""
    text = module.read_text()
    taken = {
        (module.parent / path).resolve(): {
            name.strip() for name in names.split(",") if name.strip()
        }
        for names, path in IMPORT.findall(text)
    }
    for name, path in NAMESPACE.findall(text):
        taken[(module.parent / path).resolve()] = set(re.findall(rf"\b{name}\.(\w+)\b(?!\")", text))
    assert len(taken) == len(re.findall(r"^import\b", text, re.MULTILINE)), "another kind of import"
    return taken


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_imports_are_exported_and_used(module: Path) -> None:
    text = module.read_text()
    for source, names in imported(module).items():
        assert source.is_file(), source
        assert names <= exports(source), (source.name, names - exports(source))
    for names, _ in IMPORT.findall(text):
        for name in re.findall(r"\w+", names):
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is not used"


def test_every_module_is_reached_and_every_export_taken() -> None:
    reached = {WEB_FOLDER / "js" / "main.js"}
    waiting = list(reached)
    taken: dict[Path, set[str]] = {}
    while waiting:
        for source, names in imported(waiting.pop()).items():
            taken.setdefault(source, set()).update(names)
            if source not in reached:
                reached.add(source)
                waiting.append(source)
    assert reached == set(MODULES)
    unused = {module.name: exports(module) - taken.get(module, set()) for module in MODULES}
    assert {name: names for name, names in unused.items() if names} == {}


def test_what_the_page_names_is_there() -> None:
    named = set(re.findall(r"\"static/([^\"#]+)", INDEX))
    assert all((WEB_FOLDER / name).is_file() for name in named)
    sheets = {path.relative_to(WEB_FOLDER).as_posix() for path in WEB_FOLDER.rglob("*.css")}
    assert sheets <= named
    icons = set(re.findall(r"symbol id=\"([^\"]+)\"", (WEB_FOLDER / "icons.svg").read_text()))
    assert set(re.findall(r"icons\.svg#([\w-]+)", INDEX)) <= icons


def test_nothing_is_inline() -> None:
    """The page's Content-Security-Policy would not run it, and says so to nobody but a console."""
    assert not re.search(r"\s(?:style|on\w+)=\"", INDEX)
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)", INDEX)
    for module in MODULES:
        assert "innerHTML" not in module.read_text(), module

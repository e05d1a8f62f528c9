"""Paths, module names and links in documents, docstrings and comments lead somewhere.

Nothing is imported: a dotted name is followed through folders and files, then through the names
that the file's syntax tree defines.
"""

from __future__ import annotations

import ast
import io
import os
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("golden", "flows", "rtl_gen", "sim", "constraints")
FOLDERS = (*PACKAGES, "tests", "docs")
IGNORED = {"build", "dist", "__pycache__"}

_FENCE = re.compile(r"^( *)(```+)(\w*)\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)([^`]+)\1(?!`)")
_PATH = re.compile(rf"(?<![\w./<>-])(?:{'|'.join(FOLDERS)})/[\w./<>*-]*")
_DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join((*PACKAGES, 'tests'))})(?:\.\w+)+")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def files() -> tuple[Path, ...]:
    """Python files and documents of the tree, relative to its root."""
    found = []
    for folder, inside, names in os.walk(ROOT):
        inside[:] = [name for name in inside if name not in IGNORED and name[0] != "."]
        found += [Path(folder, name).relative_to(ROOT) for name in names]
    return tuple(sorted(path for path in found if path.suffix in (".py", ".md")))


def documents() -> list[Path]:
    return [path for path in files() if path.suffix == ".md"]


def sources() -> list[Path]:
    return [path for path in files() if path.suffix == ".py"]


def remarks(source: str) -> str:
    """Docstrings and comments of a module, and what its constants are said to be."""
    tree = ast.parse(source)
    found = [
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found += [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n\n".join(found)


@cache
def names_in(path: Path) -> dict[str, set[str]]:
    """What a module defines or imports, and of each class what it defines."""
    found: dict[str, set[str]] = {}
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        for name in defined(node):
            found[name] = set()
        if isinstance(node, ast.ClassDef):
            inside = found[node.name]
            for part in node.body:
                inside.update(defined(part))
            inside.update(
                each.attr
                for each in ast.walk(node)
                if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)
            )
    return found


def defined(node: ast.stmt) -> Iterator[str]:
    """Names that one statement defines or imports."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


@cache
def origins(path: Path) -> dict[str, str]:
    """Where the names come from that a module imports from its own package: their dotted names."""
    found = {}
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            package = ".".join(path.parts[: -node.level])
            module = f"{package}.{node.module}" if node.module else package
            for alias in node.names:
                found[alias.asname or alias.name] = f"{module}.{alias.name}"
    return found


def leads_somewhere(dotted: str) -> bool:
    """Whether a dotted name is a package, a module, or a name that one of these defines."""
    first, *rest = dotted.split(".")
    place = Path(first)
    while rest and (ROOT / place / rest[0]).is_dir():
        place /= rest.pop(0)
    if rest and (ROOT / place / f"{rest[0]}.py").is_file():
        place /= f"{rest.pop(0)}.py"
    elif rest:
        place /= "__init__.py"
    if not rest:
        return True
    if len(rest) > 2 or not (ROOT / place).is_file():
        return False
    known = names_in(place)
    if rest[0] not in known:
        return False
    if len(rest) == 1 or rest[1] in known[rest[0]]:
        return True
    origin = origins(place).get(rest[0])
    return origin is not None and leads_somewhere(f"{origin}.{rest[1]}")


def exists(path: str) -> bool:
    """Whether a path is there; ``<name>`` and ``*`` stand for anything."""
    pattern = re.sub(r"<\w+>", "*", path).rstrip("./")
    return any(ROOT.glob(pattern)) if "*" in pattern else (ROOT / pattern).exists()


def wrong_names(text: str) -> set[str]:
    """Paths in a text, and dotted names and file names in its backticks, that are not there."""
    wrong = {path.rstrip(".") for path in _PATH.findall(text) if not exists(path)}
    for _, span in _SPAN.findall(text):
        wrong.update(name for name in _DOTTED.findall(span) if not leads_somewhere(name))
        if re.fullmatch(r"[\w/<>*-]+\.py", span):
            known = exists(span) if "/" in span else any(path.name == span for path in sources())
            wrong.update([] if known else [span])
    return wrong


def wrong_imports(text: str) -> set[str]:
    """Names that the Python examples of a document import from us and that are not there."""
    wrong = set()
    for _, _, language, code in _FENCE.findall(text):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                wrong.update(name for name in names if not leads_somewhere(name))
    return wrong


def anchors(document: Path) -> set[str]:
    """What links may name behind the ``#``: a document's headings."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def wrong_links(document: Path, text: str) -> set[str]:
    """Relative links that lead to no file, or to no heading of it."""
    wrong = set()
    for link in _LINK.findall(_FENCE.sub("", text)):
        path, _, anchor = link.partition("#")
        target = ROOT / document.parent / path if path else ROOT / document
        if "://" not in link and not (
            target.exists() and (not anchor or anchor in anchors(target))
        ):
            wrong.add(link)
    return wrong


def test_names_in_documents_exist() -> None:
    assert len(documents()) > 10
    wrong = {}
    for path in documents():
        text = (ROOT / path).read_text(encoding="utf-8")
        paths = {name for name in _PATH.findall(text) if not exists(name)}
        wrong[str(path)] = wrong_names(_FENCE.sub("", text)) | paths | wrong_imports(text)
    assert {path: sorted(names) for path, names in wrong.items() if names} == {}


def test_links_in_documents_lead_to_files() -> None:
    wrong = {
        str(path): wrong_links(path, (ROOT / path).read_text(encoding="utf-8"))
        for path in documents()
    }
    assert {path: sorted(links) for path, links in wrong.items() if links} == {}


def test_every_document_is_linked_from_another() -> None:
    """A study or manual that nothing links to is never found."""
    linked = set()
    for path in documents():
        text = (ROOT / path).read_text(encoding="utf-8")
        for link in _LINK.findall(_FENCE.sub("", text)):
            linked.add(Path(os.path.normpath(path.parent / link.partition("#")[0])))
    manuals = [path for path in documents() if path.parts[0] == "docs"]
    assert [str(p) for p in manuals if p not in linked and p.parent not in linked] == []


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_names_in_docstrings_and_comments_exist(package: str) -> None:
    wrong = {
        str(path): wrong_names(remarks((ROOT / path).read_text(encoding="utf-8")))
        for path in sources()
        if path.parts[0] == package and path != Path("tests/test_docs.py")
    }
    assert wrong
    assert {path: sorted(names) for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`golden/planner/tile.py`, golden/shape.py and `rtl_gen/kernels/<name>.py`", set()),
        ("`golden/fuse/tile.py`", {"golden/fuse/tile.py"}),
        ("see docs/nothing.md.", {"docs/nothing.md"}),
        ("`flows/bench/study`, `golden/formats/`, `constraints/families/*.py`", set()),
        ("`rtl_gen/vector/<name>.py`", {"rtl_gen/vector/<name>.py"}),
        ("`test_imports.py` and `test_lost.py`", {"test_lost.py"}),
        ("`lost/tile.py`", {"lost/tile.py"}),
        ("``golden.planner`` `golden.shape.ArrayShape.lanes`", set()),
        ("`golden.formats.Kernel.preference`", set()),
        ("`golden.formats.Kernel.lost`", {"golden.formats.Kernel.lost"}),
        ("`golden.block_selector`", {"golden.block_selector"}),
        ("`golden.planner.tile.Lost`", {"golden.planner.tile.Lost"}),
        ("`golden.shape.ArrayShape.lost`", {"golden.shape.ArrayShape.lost"}),
        ("`golden.shape.ArrayShape.lanes.bits`", {"golden.shape.ArrayShape.lanes.bits"}),
        ("golden.block_selector in prose, `schedule.fusion`, `target.device`", set()),
    ],
)
def test_a_wrong_name_is_found(text: str, wrong: set[str]) -> None:
    assert wrong_names(text) == wrong


def test_a_wrong_example_or_link_is_found() -> None:
    example = "```python\nfrom golden.planner.tile import Lost, Tile\n```\n"
    assert wrong_imports(example) == {"golden.planner.tile.Lost"}
    links = "[a](array.md#streams) [b](lost.md) [c](https://example.org/lost.md) [d](#streams)"
    assert wrong_links(Path("docs/array.md"), links) == {"lost.md"}
    assert wrong_links(Path("docs/array.md"), "[a](kernels.md#lost)") == {"kernels.md#lost"}

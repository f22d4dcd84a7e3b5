"""Public functions that take or return arrays name the arrays' shapes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import REPO

ROOMS = ("data_catalog",)
ALIAS = re.compile(r"^(\w+)(?:: TypeAlias)? = NDArray\[", re.MULTILINE)
SHAPE = re.compile(r"\((\w|…|\.\.\.)[^()]*,[^()]*\)|\((…|\.\.\.)\)")  # (L, 4, 2), (4,), (..., 2), (...)


def public_functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Functions of a module and methods of its public classes, those inside functions left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def takes_arrays(function: ast.FunctionDef, arrays: re.Pattern[str]) -> bool:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    annotations = [argument.annotation for argument in every] + [function.returns]
    return any(arrays.search(ast.unparse(one)) for one in annotations if one is not None)


def nameless(paths: list[Path]) -> list[str]:
    """Where no shape is named, as `file:line function`."""
    texts = {path: path.read_text() for path in paths}
    aliases = {name for text in texts.values() for name in ALIAS.findall(text)}
    arrays = re.compile(rf"\b({'|'.join(sorted(aliases | {'NDArray', 'Tensor'}))})\b")
    return [
        f"{path}:{function.lineno} {function.name}"
        for path, text in texts.items()
        for function in public_functions(ast.parse(text))
        if takes_arrays(function, arrays) and not SHAPE.search(ast.get_docstring(function) or "")
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_arrays_have_their_shape_named(room: str) -> None:
    paths = sorted((REPO / room).rglob("*.py"))
    assert len(paths) > 10
    assert nameless(paths) == []


def test_a_nameless_array_is_found(tmp_path: Path) -> None:
    file = tmp_path / "boxes.py"
    file.write_text(
        "Boxes = NDArray[np.float32]\n"
        'def area(boxes: Boxes) -> float:\n    """Area (of all)."""\n'
        'def count(boxes: Boxes) -> int:\n    """How many boxes (N, 4) there are."""\n'
    )
    assert nameless([file]) == [f"{file}:2 area"]

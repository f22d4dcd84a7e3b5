"""Public functions that take or return arrays say of which shape and dtype.

A docstring names shapes as design.md does, `(L, 4, 2)`. The dtype is named there, or by the annotation
(`NDArray[np.float32]`, and `ArrayLike`, which takes any). A docstring that refers to another (see `Tracker.track`)
says what that one says.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("flows", "tasks", "models", "data_catalog")
ARRAY = re.compile(r"\b(NDArray|ArrayLike|Tensor)\b")
SHAPE = re.compile(r"\([^()]*(?:,|…|\.\.\.|\b[A-Z]\b)[^()]*\)|\b[Ss]calar\b|\bshapes?\b")
DTYPE = re.compile(r"\b(u?int\d*|float\d*|bool|dtypes?)\b")
TYPED = re.compile(r"NDArray\[(?!Any)[^\]]+\]+|ArrayLike")
REFERS = re.compile(r"\b[Ss]ee `|\b[Aa]s `|\bof `")

# To do, by file: how many of its functions don't say it yet. May only shrink: a file that is done leaves the list.
TODO: dict[str, int] = {
    "flows/draw/tracking_plots.py": 1,
    "flows/draw/tube_layers.py": 3,
    "tasks/assessment/published_tubes.py": 2,
    "tasks/assessment/tube_checks.py": 1,
    "tasks/detect.py": 1,
    "tasks/normalize.py": 1,
    "tasks/pretrain/train_tracker.py": 1,
    "tasks/training/module.py": 1,
    "tasks/training/scorer.py": 1,
}


def functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def lacks(function: ast.FunctionDef) -> list[str]:
    """What a function's docstring should say of its arrays and does not: "shape", "dtype"."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    parts = [one.annotation for one in arguments if one.annotation] + ([function.returns] if function.returns else [])
    arrays = [text for text in map(ast.unparse, parts) if ARRAY.search(text)]
    text = ast.get_docstring(function) or ""
    if not arrays or REFERS.search(text):
        return []
    typed = all(not ARRAY.search(TYPED.sub("", one)) for one in arrays)
    named = {"shape": bool(SHAPE.search(text)), "dtype": typed or bool(DTYPE.search(text))}
    return [what for what, there in named.items() if not there]


def offenders(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    return [f"{one.name} (line {one.lineno}): {', '.join(lacks(one))}" for one in functions(tree.body) if lacks(one)]


FILES = [path.relative_to(ROOT).as_posix() for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("file", FILES)
def test_arrays_have_a_shape_and_a_dtype_in_their_docstring(file: str) -> None:
    found = offenders(ROOT / file)
    allowed = TODO.get(file, 0)
    assert len(found) <= allowed, f"{file}: name shape and dtype in the docstring of {'; '.join(found)}"
    assert len(found) == allowed, f"{file} has {len(found)} left, fewer than the {allowed} of TODO: shorten the list"


def test_the_list_names_files_that_are_there() -> None:
    assert set(TODO) <= set(FILES)


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ('def f(x: Tensor) -> Tensor:\n    """Doubles."""', ["shape", "dtype"]),
        ('def f(x: Tensor) -> Tensor:\n    """Doubles (B, C)."""', ["dtype"]),
        ('def f(x: Tensor) -> Tensor:\n    """Doubles (B, C) float."""', []),
        ('def f(x: NDArray[np.float32]) -> int:\n    """Counts."""', ["shape"]),
        ('def f(x: NDArray[np.float32], y: ArrayLike) -> int:\n    """Counts of (n,) each."""', []),
        ('def f(x: NDArray[Any]) -> int:\n    """Counts of (n,) each."""', ["dtype"]),
        ('def f(x: int) -> int:\n    """Doubles."""', []),
        ("def f(x: ArrayLike) -> int: ...", ["shape"]),
    ],
)
def test_the_rule_itself(source: str, missing: list[str]) -> None:
    [function] = functions(ast.parse(source).body)
    assert lacks(function) == missing

"""Public functions that take or return arrays say of which shape and dtype.

A docstring names shapes as design.md does, `(L, 4, 2)`. The dtype is named there, or by the annotation
(`NDArray[np.float32]`, and `ArrayLike`, which takes any). A docstring that refers to another (see `Tracker.track`)
says what that one says.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support import REPO

ROOMS = ("flows", "tasks", "models", "data_catalog")
FILES = [path.relative_to(REPO).as_posix() for room in ROOMS for path in sorted((REPO / room).rglob("*.py"))]
# Names for arrays of one dtype, such as `Floats = NDArray[np.float64]`; they name it as well as NDArray does.
ALIAS = re.compile(r"^(\w+)(?:: TypeAlias)? = NDArray\[(?!Any)", re.MULTILINE)
ALIASES = {file: set(ALIAS.findall((REPO / file).read_text())) for file in FILES}
ARRAY = re.compile(r"\b(NDArray|ArrayLike|Tensor)\b")
SHAPE = re.compile(r"\([^()]*(?:,|…|\.\.\.)[^()]*\)|\b[Ss]calar\b|\bshapes?\b")
DTYPE = re.compile(r"\b(u?int\d*|float\d*|bool|dtypes?)\b")
TYPED = re.compile(r"NDArray\[(?!Any)[^\]]+\]+|ArrayLike")
REFERS = re.compile(r"\b[Ss]ee `|\b[Aa]s `|\bof `")


def functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def aliases(file: str, tree: ast.Module) -> set[str]:
    """Names for arrays that a file defines or imports."""
    imports = (node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module)
    return ALIASES[file].union(
        one.name
        for node in imports
        for one in node.names
        if one.name in ALIASES.get(f"{str(node.module).replace('.', '/')}.py", ())
    )


def lacks(function: ast.FunctionDef, names: set[str]) -> list[str]:
    """What a function's docstring should say of its arrays and does not: "shape", "dtype"."""
    alias = re.compile(rf"\b({'|'.join(sorted(names)) or '(?!)'})\b")
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    parts = [one.annotation for one in arguments if one.annotation] + ([function.returns] if function.returns else [])
    arrays = [text for text in (alias.sub("NDArray[one]", ast.unparse(part)) for part in parts) if ARRAY.search(text)]
    text = ast.get_docstring(function) or ""
    if not arrays or REFERS.search(text):
        return []
    typed = all(not ARRAY.search(TYPED.sub("", one)) for one in arrays)
    named = {"shape": bool(SHAPE.search(text)), "dtype": typed or bool(DTYPE.search(text))}
    return [what for what, there in named.items() if not there]


def offenders(file: str) -> list[str]:
    tree = ast.parse((REPO / file).read_text())
    names = aliases(file, tree)
    every = [(one, lacks(one, names)) for one in functions(tree.body)]
    return [f"{one.name} (line {one.lineno}): {', '.join(missing)}" for one, missing in every if missing]


@pytest.mark.parametrize("file", FILES)
def test_arrays_have_a_shape_and_a_dtype_in_their_docstring(file: str) -> None:
    found = offenders(file)
    assert not found, f"{file}: name shape and dtype in the docstring of {'; '.join(found)}"


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
        ('def f(x: Floats) -> int:\n    """Counts (of all)."""', ["shape"]),
        ('def f(x: Floats) -> int:\n    """Counts of (n,) each."""', []),
    ],
)
def test_the_rule_itself(source: str, missing: list[str]) -> None:
    [function] = functions(ast.parse(source).body)
    assert lacks(function, {"Floats"}) == missing

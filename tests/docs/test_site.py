"""The documentation's site: built strictly, whole, generated where it says so, and complete without a network."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from flows.cli.main import COMMANDS, app
from flows.config import PipelineConfig, preset_names
from tasks.masks import MasksConfig
from tests.support import REPO
from tests.support.built_site import mkdocs, read_page

PAGES = sorted(path.relative_to(REPO / "docs") for path in (REPO / "docs").rglob("*.md"))
STYLE_ADDRESS = re.compile(r"url\(\s*[\"']?([^)\"']+)")


class Settings(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags for Python's own names stay words."""


def settings() -> dict[str, Any]:
    return dict(yaml.load((REPO / "mkdocs.yml").read_text(), Settings))


def test_every_page_is_on_the_site(docs_site: Path) -> None:
    built = [page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html") for page in PAGES]
    assert [str(page) for page in built if not (docs_site / page).is_file()] == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[there](there.md)", ""),
        ("[a heading](there.md#a-heading)", ""),
        ("[nowhere](nowhere.md)", "nowhere.md"),
        ("[no heading](there.md#no-heading)", "no-heading"),
        ("[none here](#none)", "#none"),
    ],
)
def test_a_wrong_link_or_anchor_ends_the_build(line: str, said: str, tmp_path: Path) -> None:
    """With the site's own rules, on two pages and without its theme, which would take longer."""
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text(f"# Start\n\n{line}\n")
    (tmp_path / "pages" / "there.md").write_text("# There\n\n## A heading\n")
    rules = {name: settings()[name] for name in ("strict", "validation", "use_directory_urls")}
    config = tmp_path / "mkdocs.yml"
    config.write_text(yaml.safe_dump({"site_name": "two pages", "docs_dir": "pages", "plugins": [], **rules}))
    built = mkdocs(config, tmp_path / "site")
    assert (built.returncode != 0) is bool(said), built.stderr
    assert said in built.stderr


def loaded_elsewhere(addresses: Iterator[str]) -> list[str]:
    return [one for one in addresses if urlsplit(one).netloc or urlsplit(one).scheme not in ("", "data")]


def test_pages_load_nothing_from_another_host(docs_site: Path) -> None:
    names = [path.relative_to(docs_site).as_posix() for path in docs_site.rglob("*.html")]
    assert len(names) > len(PAGES)
    for name in names:
        assert loaded_elsewhere(iter(read_page(docs_site, name).loads)) == [], name
    for style in docs_site.rglob("*.css"):
        assert loaded_elsewhere(iter(STYLE_ADDRESS.findall(style.read_text()))) == [], style.name


def test_what_is_loaded_from_elsewhere_is_noticed() -> None:
    addresses = ["a.js", "../b.css", "data:image/svg+xml,x", "https://fonts.example/c", "//cdn.example/d.js"]
    assert loaded_elsewhere(iter(addresses)) == addresses[3:]


def test_the_start_page_has_a_picture_and_two_commands(docs_site: Path) -> None:
    page = read_page(docs_site, "index.html")
    pictures = [one for one in page.loads if Path(one).suffix in (".png", ".gif") and "assets" not in one]
    assert pictures
    assert all((docs_site / one).is_file() for one in pictures)
    [commands] = re.findall(r"```bash\n(.*?)```", (REPO / "docs" / "index.md").read_text(), re.DOTALL)
    assert [line.split("#")[0].strip() for line in commands.splitlines()] == ["make demo", ".venv/bin/tubeflow view"]


def test_every_command_with_its_options_is_in_the_reference(docs_site: Path) -> None:
    """Compared with what `--help` prints, which Typer writes without the reference's code."""
    page = read_page(docs_site, "reference/cli.html")
    assert {f"tubeflow-{name}" for name in COMMANDS} <= page.ids
    for words in (["run"], ["labels", "set"], ["datasets", "make"]):
        assert f"tubeflow-{'-'.join(words)}" in page.ids
        told = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "400", "TERM": "dumb"})
        options = set(re.findall(r"--[a-z][a-z-]+", told.stdout)) - {"--help"}
        assert len(options) > 3
        section = page.text.partition(f"tubeflow {' '.join(words)} ¶")[2].partition("¶")[0]
        assert {option for option in options if option not in section} == set()


def test_the_reference_begins_as_the_program_does(docs_site: Path) -> None:
    """Its panels with their commands, and how to start, as the front page prints them."""
    printed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "400", "TERM": "dumb"}).stdout
    start, _, rest = printed.partition("╭─ Options")
    rows = re.findall(r"^(?:╭─ (\w+)|│ (\w+) +(.+?) *│$)", rest, re.MULTILINE)
    commands = [row for row in rows if not row[2].startswith("<")]  # those are options
    lines = [f"{panel} command what it does" if panel else f"{name} {told}" for panel, name, told in commands]
    assert len(lines) == len(COMMANDS) + 6
    text = "".join(read_page(docs_site, "reference/cli.html").text.split())
    begins = "".join("".join(lines).split())
    assert begins in text
    first = next(line for line in start.splitlines() if "Start with" in line)
    assert text.index("".join(first.split())) < text.index(begins)


def fields(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Names and descriptions, from pydantic's fields; the page is made from the JSON schema."""
    for section, outer in model.model_fields.items():
        for name, inner in outer.annotation.model_fields.items():  # type: ignore[union-attr]
            yield f"{section}.{name}", inner.description or ""


def test_every_field_of_the_config_is_in_the_reference(docs_site: Path) -> None:
    page = read_page(docs_site, "reference/config.html")
    known = dict(fields(PipelineConfig))
    assert len(known) > 80
    assert known.keys() <= page.ids
    text = "".join(page.text.split())  # spaces stand elsewhere around what is set as code
    assert [name for name, told in known.items() if "".join(told.replace("`", "").split()) not in text] == []
    assert set(preset_names()) <= page.ids
    assert f"masks.tau = {PipelineConfig().masks.tau} " in page.text
    assert " or ".join(get_args(MasksConfig.model_fields["source"].annotation)) in page.text


REFERENCE = sorted((REPO / "docs" / "reference" / "python").glob("*.md"))


@pytest.mark.parametrize("source", REFERENCE, ids=lambda path: path.stem)
def test_every_public_name_of_a_documented_module_is_in_the_reference(docs_site: Path, source: Path) -> None:
    page = read_page(docs_site, f"reference/python/{source.stem}.html")
    for dotted in re.findall(r"^::: ([\w.]+)$", source.read_text(), re.MULTILINE):
        if not isinstance(module := _imported(dotted), type(re)):
            continue
        names = getattr(module, "__all__", None) or [
            name for name, thing in vars(module).items()
            if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__
        ]  # fmt: skip
        public = {
            name for name in names if inspect.isclass(thing := getattr(module, name)) or inspect.isfunction(thing)
        }
        shown = {one.rpartition(".")[2] for one in page.ids if one.startswith(dotted)}
        assert public <= shown, f"{dotted}: not on the page: {sorted(public - shown)}"


def _imported(dotted: str) -> Any:
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, name = dotted.rpartition(".")
        return getattr(importlib.import_module(module), name)


def test_the_search_knows_commands_fields_and_docstrings(docs_site: Path) -> None:
    index = json.loads((docs_site / "search" / "search_index.json").read_text())["docs"]
    texts = {entry["location"]: entry["text"] for entry in index}
    assert "reference/cli.html#tubeflow-explain" in texts
    assert "masks.tau" in texts["reference/config.html#masks"]
    assert any(where.endswith("#models.geometry.coverage") for where in texts)
    assert not [where for where in texts if where.startswith("source/")]
    inlined = (docs_site / "search" / "search_index.js").read_text()  # what a page reads that was opened from the disk
    assert json.loads(inlined.removeprefix("var __index = ")) == json.loads(
        (docs_site / "search" / "search_index.json").read_text()
    )


def test_pages_say_to_screen_readers_what_they_are(docs_site: Path) -> None:
    """What can be seen without a browser; tests/browser/test_docs_site.py asks axe-core in one."""
    for path in docs_site.rglob("*.html"):
        html, name = path.read_text(encoding="utf-8"), path.relative_to(docs_site).as_posix()
        assert '<html lang="en"' in html, name
        assert re.search(r"<title>[^<]+</title>", html), name
        assert (html.count("<main "), len(re.findall(r"<h1[ >]", html))) == (1, 1), name
        assert [one for one in re.findall(r"<img [^>]*>", html) if not re.search(r' alt="[^"]+"', one)] == [], name
        assert re.findall(r"<th[^>]*></th>", html) == [], name
        assert [one for one in re.findall(r'<[^>]*role="dialog"[^>]*>', html) if "aria-label" not in one] == [], name
        for label in re.findall(r'aria-labelledby="([^"]+)"', html):
            (words,) = re.findall(rf'id="{label}"[^>]*>(.*?)</(?:label|h2)>', html, re.DOTALL)
            assert re.sub(r"<[^>]*>", "", words).strip(), f"{name}: {label}"

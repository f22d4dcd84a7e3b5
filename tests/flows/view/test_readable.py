"""What can be known of the pages without a browser: colours far enough apart, names, landmarks, no colour by itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from flows.view.pages import PAGES, web_files
from tests.support.contrast import CONTROL, TEXT, colour_tokens, contrast, too_close

CSS = {name: path.read_text(encoding="utf-8") for name, path in web_files().items() if name.endswith(".css")}
COLOURS = colour_tokens(CSS["shared/base.css"])
GROUNDS = ("bg", "panel", "raised")
WORDS = ("ink", "faint", "accent", "alarm", "warn", "good")
# What a rule itself pairs: badges, the chosen layer and page, the first button, messages.
PAIRED = [
    *((f"{name}", f"{name}-soft") for name in ("accent", "alarm", "warn", "good")),
    ("ink", "accent-soft"), ("on-accent", "accent"), ("bg", "ink"), ("panel", "alarm"),
]  # fmt: skip


def test_contrast_is_what_the_standard_says() -> None:
    """Numbers that WCAG's own documents and everybody's calculators have."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#ff0000", "#ffffff") == pytest.approx(4.00, abs=0.005)


@pytest.mark.parametrize("scheme", COLOURS)
def test_words_stand_out_from_whatever_they_stand_on(scheme: str) -> None:
    everywhere = [(word, ground) for word in WORDS for ground in GROUNDS]
    assert too_close(COLOURS[scheme], everywhere + PAIRED, TEXT) == []


@pytest.mark.parametrize("scheme", COLOURS)
def test_edges_of_controls_and_of_the_focus_stand_out(scheme: str) -> None:
    edges = [(edge, ground) for edge in ("edge", "accent") for ground in GROUNDS]
    assert too_close(COLOURS[scheme], edges, CONTROL) == []


def test_the_plots_keep_their_own_ground_in_light_and_dark() -> None:
    """They lie below a picture, dark in both: their colours are written out, and are held against that ground."""
    rule = r"^(\.plot[\w ,.-]*?) \{[^}]*?(?:background|fill|stroke): (#[0-9a-f]{6})"
    rules = dict(re.findall(rule, CSS["clip/clip.css"], re.MULTILINE))
    ground = rules[".plot"]
    assert contrast(rules[".plot-title, .plot-tick"], rules[".plot-lane"]) >= TEXT
    assert contrast(rules[".plot-number"], rules[".plot-bar"]) >= TEXT
    assert contrast(rules[".plot-number"], rules[".plot-fill"]) >= TEXT
    (edge,) = re.findall(r"^\.plot-bar \{[^}]*stroke: (#[0-9a-f]{6})", CSS["clip/clip.css"], re.MULTILINE)
    for line in (edge, *(COLOURS["light"][f"tube{n}"] for n in range(4))):
        assert contrast(line, ground) >= CONTROL


def test_every_named_colour_is_known_in_both() -> None:
    for name, css in CSS.items():
        used = set(re.findall(r"var\(--([\w-]+)[,)]", css))
        assert used - set(COLOURS["dark"]) <= {"radius", "most", "ratio"}, name


class Outline(HTMLParser):
    """The elements of a page, each with what it is in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.title, self.lang, self._open = "", "", [""]
        self.found: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found.append((tag, given, tuple(self._open)))
        self.lang = given.get("lang") or self.lang
        if tag not in {"meta", "link", "input", "img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1] == "title":
            self.title += data

    def all(self, *tags: str) -> list[tuple[str, dict[str, str | None], tuple[str, ...]]]:
        return [one for one in self.found if one[0] in tags]


@pytest.mark.parametrize("name", PAGES.values())
def test_a_page_is_named_and_has_its_landmarks(name: str) -> None:
    outline = Outline(web_files()[name].read_text(encoding="utf-8"))
    assert outline.lang == "en"
    assert outline.title.endswith("Tubeflow")
    assert (len(outline.all("h1")), len(outline.all("main"))) == (1, 1)
    skip = outline.all("a")[0][1]
    assert skip["class"] == "skip"
    ids = {given["id"]: given for _, given, _ in outline.found if given.get("id")}
    assert ids[(skip["href"] or "").removeprefix("#")]["tabindex"] == "-1"
    for tag, given, inside in outline.all("input", "select", "img", "canvas", "section", "nav"):
        label = given.get("aria-label") or given.get("aria-labelledby") or given.get("alt")
        assert label or "label" in inside, f"{name}: {tag} {given} has no name"


def test_what_moves_asks_first_and_high_contrast_is_known() -> None:
    for name, css in CSS.items():
        moving = r"(?:transition|animation|scroll-behavior):"
        asked = re.findall(rf"prefers-reduced-motion: no-preference\) \{{[^@]*?{moving}", css)
        assert len(re.findall(moving, css)) == len(asked), name
    assert "@media (forced-colors: active)" in CSS["shared/base.css"]
    for css in CSS.values():
        for rule in re.findall(r"([^{}]+)\{[^{}]*outline: none", css):
            assert re.search(r"^\s*(main:focus|\.grid|\.box)\s*$", rule.splitlines()[-1]), f"hides the focus: {rule}"

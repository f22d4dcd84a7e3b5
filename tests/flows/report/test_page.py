"""report.html is written for real, parsed, and held to what it promises a reader."""

import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.report import page as pages
from flows.report.data import (
    Curve,
    MetricLine,
    MetricValue,
    Picture,
    Predictions,
    ReportData,
    SegmentScores,
    SetAsideRow,
)
from flows.report.figures import curves_svg, intervals_svg, scatter_svg
from flows.report.page import load_picture, render_report
from tests.support.full_report import full_report, picture

ONE_CLIP = SegmentScores("b", (0, 10), 16, (20.0, 22.0), 20.0, 25.5)
BEST_ON_TEST = "choose the best epoch on the test set itself"
# What only a full report has, by its heading.
SECTIONS = (
    "Metrics", "Stages", "Predicted against true", "How far a score may be off", "Classes", "Learning curves",
    "Score over time", "Steps", "Tubes", "Contact sheets", "Tubes against the truth", "Cost", "Quarantined clips",
    "Settings", "Lineage",
)  # fmt: skip


class Page(HTMLParser):
    """The parts of a page that the tests ask about."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.headings: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self._open.append(tag)
        if tag in {"h1", "h2", "h3"}:
            self.headings.append((tag, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"<{tag}> is not closed in order at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text.append(data)
        if self.headings and {"h1", "h2", "h3"} & set(self._open) and "small" not in self._open:
            tag, text = self.headings[-1]
            self.headings[-1] = (tag, text + data.strip())

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def sections(self) -> list[str]:
        return [text for tag, text in self.headings if tag == "h2"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(render_report(tmp_path_factory.mktemp("report") / "new" / "report.html", full_report()))


def test_every_section_is_there(page: Page) -> None:
    assert page.sections() == list(SECTIONS)
    assert [text for tag, text in page.headings if tag == "h1"] == ["A run"]


def test_nothing_is_fetched_from_anywhere(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        for name, value in attributes.items():
            if name in {"src", "srcset", "poster"}:
                assert (value or "").startswith("data:image/")
            if name.endswith("href"):
                assert (value or "").startswith("#")
            assert not name.startswith("on")
    assert re.search(r"@import|url\((?!#)", page.source) is None
    addresses = set(re.findall(r"https?://[^\"'\s<]+", page.source))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "default-src 'none'" in page.source


def test_no_figure_is_nan(page: Page) -> None:
    assert (
        re.search(r"\b(nan|none|inf)\b", re.sub(r"<style>.*?</style>", "", page.words), re.IGNORECASE) is None
    )
    # Nor in the coordinates of a plot.
    assert all("nan" not in (a.get("d") or "").lower() for a in page.all("path"))


def test_links_reach_their_places_and_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [
        value[1:] for _, a in page.elements for name, value in a.items() if name.endswith("href") and value
    ]
    targets += [
        name
        for _, a in page.elements
        for value in a.values()
        for name in re.findall(r"url\(#(.*?)\)", value or "")
    ]
    targets += [a["aria-labelledby"] or "" for _, a in page.elements if "aria-labelledby" in a]
    assert set(targets) <= set(ids)
    assert pages.anchor("b") in targets


def test_pictures_tables_and_plots_are_described(page: Page) -> None:
    assert len(page.all("img")) == 3
    assert all(attributes["alt"] for attributes in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table")) == 10
    plots = page.all("svg")
    # Scatter, intervals wide and narrow, two panels with values, the segments of two clips, tubes against the truth.
    assert len(plots) == 1 + 2 + 2 + 2 * 2 + 1
    assert all(a["role"] == "img" and a["aria-label"] for a in plots)
    assert page.all("html")[0]["lang"] == "en"
    assert "width=device-width" in page.source


def test_metrics_are_labelled_and_their_choice_is_explained(page: Page) -> None:
    assert "last epoch (3) 0.7123 best epoch (2) 0.8456 95 % CI 0.500 to 0.800" in page.words
    assert "undefined: the clips have no classes" in page.words
    assert BEST_ON_TEST in page.words


def test_what_chose_the_best_epoch_is_said(tmp_path: Path) -> None:
    apart = Page(render_report(tmp_path / "apart.html", full_report(chosen_on="validation")))
    assert "was chosen by the validation clips, which took no part in training; test clips had no say" in apart.words
    assert BEST_ON_TEST not in apart.words
    shown = Predictions(("a", "b"), np.array([5.0, 6.0]), np.array([5.0, 5.0]), "validation")
    same = Page(render_report(tmp_path / "same.html", full_report(chosen_on="validation", predictions=shown)))
    assert "of these same clips, so the last epoch is the honest one" in same.words


def test_banner_only_for_procedural_data(page: Page, tmp_path: Path) -> None:
    assert "These data are procedural." in page.words
    real = Page(render_report(tmp_path / "real.html", full_report(procedural=False)))
    assert "procedural" not in real.words


def test_tables_say_what_was_given(page: Page) -> None:
    assert "normalize 60 59 0 1 21.2" in page.words
    assert "1 b 20.00 25.50 +5.50" in page.words.replace("  ", " ")
    assert "1 without a score is left out" in page.words
    assert "TSA 132 M 94.0 %" in page.words
    assert "predicted fall predicted landing true fall 3 1 true landing 0 4" in page.words
    assert "b fall 0.750" in page.words.replace("  ", " ")
    assert [cell for cell in page.all("td") if cell.get("class") == "n alarm"]  # the one above 0.5
    assert "all clips 60 0.613 0.713 93.4 % –" in page.words
    assert "against the truth's pixel masks, and of rotated boxes" in page.words
    assert "b<i>: cells of the grid 0.250" in page.words   # the worst clip first, and a name that is no markup
    assert page.words.index("b<i>: cells of the grid 0.250") < page.words.index("a: cells of the grid 0.900")
    assert "0123abcd" * 8 in page.words
    assert "No person was found." in page.words
    assert "Give a box." in page.words
    assert "tau: 0.5" in page.words


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ({"metrics": ()}, "Metrics"),
        ({"stages": ()}, "Stages"),
        ({"predictions": None}, "Predicted against true"),
        ({"confusion": None}, "Classes"),
        ({"curves": ()}, "Learning curves"),
        ({"curves": (Curve("loss", "train", (1,), (None,)),)}, "Learning curves"),
        ({"segment_scores": ()}, "Score over time"),
        ({"tubes": None}, "Tubes"),
        ({"clip_sheets": {}}, "Contact sheets"),
        ({"tube_quality": ()}, "Tubes against the truth"),
        ({"cost": None}, "Cost"),
        ({"quarantined": ()}, "Quarantined clips"),
        ({"settings": None, "command": None}, "Settings"),
        ({"lineage": (), "versions": {}}, "Lineage"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)  # fmt: skip
def test_a_section_without_data_is_left_out(tmp_path: Path, changes: dict[str, object], section: str) -> None:
    page = Page(render_report(tmp_path / "report.html", full_report(**changes)))
    assert page.sections() == [name for name in SECTIONS if name != section]
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {a["href"][1:] for a in page.all("a") if a.get("href")} <= ids


def test_the_reader_chooses_whose_score_over_time(page: Page) -> None:
    chooser = [one for one in page.all("details") if one.get("class") == "clip"]
    assert [("open" in one, one["name"]) for one in chooser] == [(True, "clip-over-time"), (False, "clip-over-time")]
    assert "b: predicted 25.50, true 20.00" in page.words
    said = page.words.replace(" ,", ",").replace(" .", ".")
    assert "The 2 segments of clip b and their middle frames." in said
    assert "The 1 segment of clip a." in said
    one = Page(render_report(page.path.parent / "one.html", full_report(segment_scores=(ONE_CLIP,))))
    assert "Choose a clip" in page.words
    assert "Choose a clip" not in one.words


def test_how_often_intervals_hold_is_told_and_drawn(page: Page) -> None:
    assert "made from the errors of 20 validation clips (temperature), last epoch, and tried on 3 clips" in page.words
    assert "80 % 2 3 66.7 % 9.0 % to 99.0 % 9.250" in page.words
    svg = intervals_svg(full_report().intervals, "p", (4.9, 3.1))
    assert "1 of 3 true scores within 50 %, 2 of 3 true scores within 80 %" in svg
    with pytest.raises(ValueError, match="3 clips, but other numbers"):
        replace(full_report().intervals, predicted=np.zeros(2))


def test_steps_are_told_and_drawn(page: Page) -> None:
    table = page.words[page.words.index("Steps of clip b;") :]
    assert "take-off 1 to 10 0, 1 20.25 a flight of many words 11 to 25 0, 1 21.50 entry – – –" in table
    assert "less the clip's prediction take-off 2 20.25 \u22125.25 a step <i>without</i> score 1 – –" in table
    assert "no mark for the step" in page.words
    wide, *_ = (one for one in page.source.split("<svg") if "Score of each segment of b" in one)
    assert "take-off" in wide
    assert "a flight of many words" in wide
    assert ">entry<" not in wide  # it has no frame of the clip's


def test_a_single_epoch_is_a_whole_number() -> None:
    svg = curves_svg("loss", [Curve("loss", "train", (1,), (0.5,))], "p")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert texts[: texts.index("epoch")] == ["1"]


def test_a_report_of_nothing(tmp_path: Path) -> None:
    page = Page(render_report(tmp_path / "report.html", ReportData("Empty", "r", "d", "today")))
    assert page.sections() == []
    assert "Empty" in page.words


def test_scores_that_are_missing_or_equal(tmp_path: Path) -> None:
    nothing = Predictions(("a",), np.array([np.nan]), np.array([1.0]))
    page = Page(render_report(tmp_path / "none.html", full_report(predictions=nothing)))
    assert "undefined: no clip of the test split has both a true and a predicted score" in page.words
    equal = Predictions(("a", "b"), np.array([5.0, 5.0]), np.array([5.0, 5.0]))
    page = Page(render_report(tmp_path / "equal.html", full_report(predictions=equal)))
    assert "1 a 5.000 5.000 0" in page.words


def test_worst_clips_come_first_and_can_be_left_out() -> None:
    true, predicted = np.array([1.0, 2.0, np.nan, 4.0]), np.array([1.5, 0.0, 9.0, 4.0])
    names = ("a", "b", "c", "d")
    assert Predictions(names, true, predicted, show_worst=2).worst() == [1, 0]
    none = Predictions(names, true, predicted, show_worst=0)
    assert none.worst() == []
    svg = scatter_svg(none, "x")
    assert svg is not None
    # Each point says which clip it is when a pointer rests on it.
    assert svg.count("<title>") == 3
    assert "b: true 2, predicted 0" in svg


def test_names_are_text_not_markup(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>&\"'"
    predictions = Predictions((name, "b"), np.array([1.0, 2.0]), np.array([3.0, 2.0]))
    data = full_report(
        title=name, predictions=predictions, clip_sheets={name: picture()},
        quarantined=(SetAsideRow(name, "detect", name, name),),
        segment_scores=(SegmentScores(name, (0,), 16, (1.0,)),),
        curves=(Curve(name, name, (1,), (0.5,)),),
    )  # fmt: skip
    page = Page(render_report(tmp_path / "report.html", data))
    assert page.all("script") == []
    assert page.words.count("alert(1)") >= 6


def test_clips_get_different_anchors() -> None:
    names = ["a b", "a_b", "a/b", "a-b", "a_20_b", "ä", "", "A B"]
    assert len({pages.anchor(name) for name in names}) == len(names)


def test_same_data_same_file(tmp_path: Path) -> None:
    first = render_report(tmp_path / "1.html", full_report()).read_bytes()
    assert render_report(tmp_path / "2.html", full_report()).read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.html", "2.html"]


def test_dollar_signs_in_names_are_no_formulas(tmp_path: Path) -> None:
    curve = Curve("loss $", "$\\frac$", (1, 2), (1.0, 0.5))
    assert "loss $" in Page(render_report(tmp_path / "report.html", full_report(curves=(curve,)))).words


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.78131, "0.7813"), (3.14159, "3.142"), (71.3, "71.30"), (0, "0"), (-0.5, "−0.5000"), (1234.5, "1234"),
     (1.5e-7, "1.500e-07"), (2.5e7, "2.500e+07"), (None, "–"), (float("nan"), "–")],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert pages.format_number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.004, "0.00"), (0.42, "0.42"), (12.34, "12.3"), (1234.5, "1\u2009234")]
)
def test_seconds(seconds: float, text: str) -> None:
    assert pages.format_seconds(seconds) == text


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="a report shows no nan"):
        MetricValue(float("nan"))
    with pytest.raises(ValueError, match="needs its reason"):
        MetricValue(None)
    with pytest.raises(ValueError, match="clip 'c': a segment's score is not finite"):
        SegmentScores("c", (0,), 16, (float("inf"),))
    with pytest.raises(ValueError, match="2 epochs, but 1 values"):
        Curve("loss", "train", (1, 2), (0.1,))


def test_pictures_are_embedded_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 2000, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    loaded = load_picture(tmp_path / "noise.png", "noise", width=1000)
    with Image.open(io.BytesIO(loaded.content)) as image:
        assert image.size == (1000, 100)
        assert image.format == "JPEG"
    with pytest.raises(ValueError, match="'odd' is neither PNG nor JPEG"):
        pages.data_uri(Picture(b"GIF89a", "odd"))


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_no_sideways_scrolling_in_a_real_browser(tmp_path: Path, width: int) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs a Chromium on the PATH")
    four = tuple(MetricLine(f"Metric {n}", MetricValue(-0.4567, epoch=12), MetricValue(0.4, epoch=9)) for n in range(4))
    long = "tubeflow run demo " + "-o train.epochs=3 " * 20
    render_report(
        tmp_path / "report.html", full_report(title="A_title_without_any_blank_" * 4, metrics=four, command=long)
    )
    # The report forbids scripts, so the page around it measures it.
    (tmp_path / "around.html").write_text(
        f"<iframe src='report.html' style='width:{width}px;height:800px'></iframe><script>onload = () => {{"
        "const file = document.querySelector('iframe').contentDocument, page = file.documentElement;"
        "const lines = one => { const range = file.createRange(); range.selectNodeContents(one.firstChild);"
        "return range.getClientRects().length };"
        "const command = file.querySelector('pre');"
        "document.body.dataset.figures = [...file.querySelectorAll('.card dd')].map(lines).join(' ');"
        "document.body.dataset.hidden = command.scrollWidth - command.clientWidth;"
        "document.body.dataset.widths = page.scrollWidth + ' ' + page.clientWidth }</script>"
    )
    run = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}",
         "--allow-file-access-from-files", "--dump-dom", (tmp_path / "around.html").as_uri()],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    found = re.search(r'data-widths="(\d+) (\d+)"', run.stdout)
    assert found is not None, "the page around the report did not measure it"
    assert int(found[1]) <= int(found[2])
    assert abs(int(found[2]) - width) < 20
    assert 'data-figures="1 1 1 1 1 1 1 1"' in run.stdout   # no figure is broken into two lines
    assert 'data-hidden="0"' in run.stdout   # of the command

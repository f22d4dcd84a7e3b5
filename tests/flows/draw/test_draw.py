"""Pictures, videos and terminal grids are written for real and read back."""

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from flows.draw import paint
from flows.draw.clip_view import ClipView, CropWindow, evenly_chosen
from flows.draw.overlay import overlay_video
from flows.draw.pipeline_picture import tube_strip
from flows.draw.sheet import contact_sheet, dataset_sheet, segment_strip
from flows.draw.terminal import tube_mask_colours, tube_mask_text
from tests.support.known_tube import CROP, GRID, HEIGHT, LENGTH, WIDTH, box_quad, make_clip


def extent(
    picture: np.ndarray, colour: tuple[int, int, int], tolerance: int = 0
) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 (ends exclusive) of all pixels with that colour."""
    found = (np.abs(picture.astype(int) - colour) <= tolerance).all(-1)
    assert found.any(), f"no pixel of colour {colour}"
    y, x = np.nonzero(found)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


class TestClipView:
    def test_refuses_arrays_of_different_length(self) -> None:
        with pytest.raises(
            ValueError, match=r"clip 'dive_0001': coverage should have shape \(40, rows, columns\)"
        ):
            make_clip(coverage=np.zeros((39, 4, 4), np.float32))
        with pytest.raises(ValueError, match="lost should have shape"):
            make_clip(lost=np.zeros((2, LENGTH), bool))
        with pytest.raises(ValueError, match="frames should have shape"):
            make_clip(frames=np.zeros((LENGTH, HEIGHT, WIDTH, 3), np.float32))

    def test_a_score_that_is_no_number_is_no_score(self) -> None:
        scores = np.full((1, LENGTH), np.nan)
        assert make_clip(tracker_scores=scores).tracker_score(0, 3) is None
        assert make_clip(tracker_scores=None).tracker_score(0, 3) is None

    @pytest.mark.parametrize(
        ("length", "count", "expected"), [(103, 3, [0, 51, 102]), (1, 5, [0]), (3, 8, [0, 1, 2])]
    )
    def test_evenly_chosen(self, length: int, count: int, expected: list[int]) -> None:
        assert evenly_chosen(length, count) == expected


class TestPaintedFrame:
    def test_quad_lies_where_its_pixels_are(self) -> None:
        picture = paint.paint_frame(make_clip(), 0, 3 * WIDTH)
        assert picture.shape == (3 * HEIGHT, 3 * WIDTH, 3)
        # The stroke is two pixels wide on either side of the edge of the box 40, 10, 70, 50.
        np.testing.assert_allclose(extent(picture, paint.ATHLETE_COLOURS[0], 30), [120, 30, 210, 150], atol=2)

    def test_selected_cell_is_the_grid_cell_of_the_crop(self) -> None:
        view = make_clip(quads=np.zeros((0, LENGTH, 4, 2), np.float32), tracker_scores=None)
        picture = paint.paint_frame(view, 0, 3 * WIDTH)
        # Row 1, column 2 of 4×4 cells, each 16 pixels wide, from x = 28: x 60–76, y 16–32, three times enlarged.
        assert extent(picture, paint.CELL_COLOUR) == (180, 48, 228, 96)

    def test_outside_of_the_crop_is_darker_and_inside_is_not(self) -> None:
        picture = paint.paint_frame(make_clip(), 0, WIDTH)
        assert tuple(picture[40, 10]) == (45, 45, 45)
        assert tuple(picture[60, 60]) == (90, 90, 90)

    def test_lost_quads_are_dashed(self) -> None:
        def count(lost: bool) -> int:
            picture = paint.paint_frame(make_clip(lost=np.full((1, LENGTH), lost)), 0, 4 * WIDTH)
            return int((picture == paint.ATHLETE_COLOURS[0]).all(-1).sum())

        assert 0.4 * count(False) < count(True) < 0.8 * count(False)

    def test_athletes_and_truth_have_their_own_colours(self) -> None:
        quads = np.stack(
            [
                np.tile(box_quad(35, 5, 50, 40), (LENGTH, 1, 1)),
                np.tile(box_quad(60, 5, 80, 40), (LENGTH, 1, 1)),
            ]
        )
        truth = np.tile(box_quad(40, 45, 80, 60), (1, LENGTH, 1, 1))
        view = make_clip(quads=quads, true_quads=truth, tracker_scores=None)
        picture = paint.paint_frame(view, 5, 4 * WIDTH)
        assert (
            extent(picture, paint.ATHLETE_COLOURS[0], 20)[2]
            < extent(picture, paint.ATHLETE_COLOURS[1], 20)[0]
        )
        np.testing.assert_allclose(extent(picture, paint.TRUTH_COLOUR, 10), [160, 180, 320, 240], atol=2)

    @pytest.mark.parametrize(
        "quad",
        [
            np.full((4, 2), np.nan),
            box_quad(50, 20, 50, 20),
            box_quad(-1e6, -1e6, 1e6, 1e6),
            box_quad(500, 500, 600, 600),
        ],
        ids=["not finite", "a point", "huge", "far away"],
    )
    def test_odd_quads_are_no_trouble(self, quad: np.ndarray) -> None:
        view = make_clip(quads=np.tile(quad, (1, LENGTH, 1, 1)), lost=np.ones((1, LENGTH), bool))
        assert paint.paint_frame(view, 0, WIDTH).shape == (HEIGHT, WIDTH, 3)

    def test_the_clip_is_not_changed(self) -> None:
        view = make_clip()
        before = view.frames.copy(), view.quads.copy(), view.coverage.copy()
        paint.paint_frame(view, 0, WIDTH)
        for old, new in zip(before, (view.frames, view.quads, view.coverage), strict=True):
            np.testing.assert_array_equal(old, new)

    def test_captions_say_lost_and_no_cell(self) -> None:
        lost = np.zeros((1, LENGTH), bool)
        lost[0, 7] = True
        coverage = make_clip().coverage.copy()
        coverage[7] = 0.4
        view = make_clip(lost=lost, coverage=coverage)
        assert [text for text, _ in paint.caption_words(view, 0)] == ["frame 0", "0.90"]
        assert [text for text, _ in paint.caption_words(view, 7)] == ["frame 7", "0.83 lost", "no cell"]

    def test_long_names_end_in_an_ellipsis(self) -> None:
        face = paint.font(16)
        assert paint.fit_text("short", face, 500) == "short"
        cut = paint.fit_text("x" * 300, face, 100)
        assert cut.endswith("…")
        assert face.getlength(cut) <= 100


class TestSheets:
    def test_contact_sheet(self, tmp_path: Path) -> None:
        view = make_clip(tracker_scores=None)  # the scores would stand there in the athlete's colour
        path = contact_sheet(view, tmp_path / "new" / "sheet.png", frames=12, columns=4, panel_width=240)
        with Image.open(path) as image:
            assert image.format == "PNG"
            picture = np.asarray(image)
        assert picture.shape[1] == 2 * 20 + 4 * 240 + 3 * 12
        # Twelve quads of 60×80 pixels: the corners of the first and of the last panel.
        x0, y0, x1, y1 = extent(picture[82:570], paint.ATHLETE_COLOURS[0], 10)
        assert x0 == pytest.approx(20 + 80, abs=2)
        assert x1 == pytest.approx(20 + 3 * 252 + 140, abs=2)
        assert y0 == pytest.approx(20, abs=2)
        assert y1 > 2 * (128 + 26 + 12)
        assert sorted(p.name for p in path.parent.iterdir()) == ["sheet.png"]

    def test_short_clip_shows_every_frame_once(self, tmp_path: Path) -> None:
        view = make_clip()
        short = ClipView("one", "tiny", view.frames[:1], view.quads[:, :1], view.coverage[:1], CROP)
        with Image.open(contact_sheet(short, tmp_path / "one.png", panel_width=240)) as image:
            assert image.width == 2 * 20 + 240

    def test_dataset_sheet_has_one_row_a_clip(self, tmp_path: Path) -> None:
        heights = []
        for count in (1, 3):
            path = dataset_sheet(
                [make_clip()] * count, tmp_path / f"{count}.png", title="run", frames=5, panel_width=200
            )
            with Image.open(path) as image:
                assert image.width == 2 * 20 + 5 * 200 + 4 * 6
                heights.append(image.height)
        row = 26 + round(200 * HEIGHT / WIDTH) + 26 + 12
        assert heights[1] - heights[0] == 2 * row

    def test_dataset_sheet_without_clips(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one clip"):
            dataset_sheet([], tmp_path / "none.png", title="run")
        assert list(tmp_path.iterdir()) == []

    def test_segment_strip(self, tmp_path: Path) -> None:
        with Image.open(
            segment_strip(make_clip(), tmp_path / "strip.png", (0, 10, 24), panel_width=100)
        ) as image:
            assert image.width == 3 * 100 + 2 * 4
        with pytest.raises(ValueError, match=r"starting at \[25\]"):
            segment_strip(make_clip(), tmp_path / "late.png", (0, 25))


class TestOverlay:
    def test_plays_as_h264_with_every_frame(self, tmp_path: Path) -> None:
        path = overlay_video(
            make_clip(), tmp_path / "out" / "overlay.mp4", fps=Fraction(30000, 1001), width=361
        )
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == Fraction(30000, 1001)
            decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            assert stream.codec_context.pix_fmt == "yuv420p"
        assert len(decoded) == LENGTH
        height, width, _ = decoded[0].shape
        assert width == 360
        assert height % 2 == 0
        # Chroma is halved and compressed, so the yellow line is only near to its colour.
        np.testing.assert_allclose(
            extent(decoded[20][:192], paint.ATHLETE_COLOURS[0], 60), [120, 30, 210, 150], atol=4
        )

    def test_a_browser_can_start_before_the_end_is_there(self, tmp_path: Path) -> None:
        content = overlay_video(make_clip(), tmp_path / "overlay.mp4").read_bytes()
        assert content.index(b"moov") < content.index(b"mdat")
        assert [p.name for p in tmp_path.iterdir()] == ["overlay.mp4"]

    @pytest.mark.browser
    def test_plays_in_a_real_browser(self, tmp_path: Path) -> None:
        chromium = (
            shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
        )
        if chromium is None:
            pytest.skip("needs a Chromium on the PATH")
        overlay_video(make_clip(), tmp_path / "overlay.mp4", width=360)
        (tmp_path / "page.html").write_text(
            "<video src='overlay.mp4' muted autoplay></video><script>const video = document.querySelector('video');"
            "onload = () => video.play().then(() => { document.body.dataset.size ="
            "video.videoWidth + ' ' + video.duration })</script>"
        )
        run = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run",
             f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
             (tmp_path / "page.html").as_uri()],
            capture_output=True, text=True, timeout=90, check=True,
        )  # fmt: skip
        assert f'data-size="360 {LENGTH / 25:g}"' in run.stdout

    def test_frame_rate_must_be_positive(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="positive frame rate, found 0"):
            overlay_video(make_clip(), tmp_path / "overlay.mp4", fps=0)


class TestPipelinePicture:
    def test_width_and_selected_cells(self, tmp_path: Path) -> None:
        starts = (0, 10, 24)
        mask = np.zeros((3, 4, *GRID), bool)
        empty = np.asarray(Image.open(tube_strip(make_clip(), mask, starts, tmp_path / "empty.png")))
        mask[:, :, 1, 2] = True
        full = np.asarray(Image.open(tube_strip(make_clip(), mask, starts, tmp_path / "full.png")))
        assert full.shape == empty.shape
        assert full.shape[1] == 1200
        # Three segments of four steps each show one parallelogram; nothing above the third row changes.
        changed = (full != empty).any(-1)
        lower = full.shape[0] // 2
        assert not changed[:lower].any()
        assert changed.any()

    def test_refuses_a_mask_of_another_grid(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="does not belong to 1 segments on a 4×4 grid"):
            tube_strip(make_clip(), np.zeros((1, 4, 14, 14), bool), (0,), tmp_path / "x.png")


class TestTerminal:
    def test_ten_segments_fit_a_hundred_columns(self) -> None:
        mask = np.zeros((10, 4, 14, 14), bool)
        mask[:9, 0, 3:5, 2:4] = True
        starts = (*range(0, 81, 10), 87)
        text = tube_mask_text(mask, starts, clip_id="dive_0001")
        lines = text.splitlines()
        assert max(map(len, lines)) <= 100
        assert len(lines) < 30
        assert "\x1b" not in text
        assert "10: 87–102" in text
        assert text.count("4 positions") == 9
        assert "1 segment with an empty tube, starting at frame 87" in text
        assert lines[-1].rstrip().endswith("empty tube")

    def test_each_character_is_two_cells(self) -> None:
        mask = np.zeros((1, 2, 3, 4), bool)
        mask[0, 0, 0, 0] = mask[0, 1, 1, 1] = mask[0, 0, 0, 2] = mask[0, 1, 1, 2] = mask[0, 0, 2, 3] = True
        grid = tube_mask_text(mask, [5]).splitlines()[-3:-1]
        assert [line.rstrip() for line in grid] == ["▀▄█·", "···▀"]

    def test_colours_tell_in_how_many_steps_a_cell_is_selected(self) -> None:
        mask = np.zeros((1, 4, 2, 2), bool)
        mask[0, :1, 0, 0] = True
        mask[0, :, 0, 1] = True
        text = tube_mask_colours(mask, [0])
        styles = [str(span.style) for span in text.spans if text.plain[span.start] == "▀"]
        assert len(set(styles)) == 2
        assert "of 4 steps" in text.plain

    def test_no_segments_and_narrow_terminals(self) -> None:
        assert "0 segments" in tube_mask_text(np.zeros((0, 4, 14, 14), bool), [])
        with pytest.raises(ValueError, match="does not fit 20 columns"):
            tube_mask_text(np.zeros((1, 4, 28, 28), bool), [0], width=20)
        long = tube_mask_text(np.zeros((1, 4, 14, 14), bool), [0], clip_id="x" * 200, width=60)
        assert max(map(len, long.splitlines())) <= 60

    @pytest.mark.parametrize("mask", [np.zeros((1, 14, 14), bool), np.zeros((1, 4, 14, 14), np.uint8)])
    def test_refuses_what_is_no_tube_mask(self, mask: np.ndarray) -> None:
        with pytest.raises(ValueError, match="a tube mask is"):
            tube_mask_text(mask, [0])

    def test_refuses_starts_of_another_number(self) -> None:
        with pytest.raises(ValueError, match="1 segments, but 2 start frames"):
            tube_mask_text(np.zeros((1, 4, 14, 14), bool), [0, 10])


def test_crop_window_may_leave_the_frame() -> None:
    view = make_clip(crop=CropWindow(-10.5, -20, 200))
    assert paint.paint_frame(view, 0, WIDTH).shape == (HEIGHT, WIDTH, 3)

"""The pictures of docs/view.md, taken anew from a running `tubeflow view`.

    tubeflow view -w /srv/tubeflow/workspace --port 8321
    python -m tests.browser.pictures http://127.0.0.1:8321 docs/view -d demo --wrong diving_0055 --right diving_0013

`--wrong` names a clip whose first-frame box was put on something else and that was run again; the pictures `correct`
and `again` draw its true box, save it and run what follows, so it can serve once. `--right` names one to look at
attention in, which was tracked in a second way as well.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.chromium import FLAGS, find_chromium

WAIT_MS, RERUN_MS = 120_000, 600_000
FRAME = 40
IN_WINDOW = """[...document.images].filter((image) => {
    const box = image.getBoundingClientRect();
    return box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  })"""
LOADED = f"() => {IN_WINDOW}.every((image) => image.complete && image.naturalWidth > 0)"
PAINTED = f"""async () => {{
  await Promise.all({IN_WINDOW}.map((image) => image.decode()));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}}"""


class Photographer:
    """Takes pictures of one site."""

    def __init__(self, browser: Any, site: str, folder: Path, dataset: str) -> None:
        self.browser, self.site, self.folder, self.dataset = browser, site, folder, dataset

    def open(self, path: str, width: int = 1280, height: int = 860, **settings: Any) -> Any:
        size = {"width": width, "height": height}
        page = self.browser.new_context(viewport=size, locale="en-GB", **settings).new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(self.site + path)
        page.wait_for_selector("main:not([aria-busy=true])")
        return page

    def clip(self, clip: str, frame: int = 0, **settings: Any) -> Any:
        page = self.open(f"/clip?dataset={self.dataset}&clip={clip}&frame={frame}", **settings)
        page.wait_for_selector("#canvas[data-loaded=true]")
        page.wait_for_selector(".score-now")
        page.wait_for_timeout(800)
        return page

    def keep(self, what: Any, name: str, **settings: Any) -> None:
        """A screenshot in 256 colours, a third of the bytes and to the eye the same; no thumbnail is still to come."""
        what.wait_for_function(LOADED)  # it waits for no promise, which is true at once
        what.evaluate(PAINTED)
        taken = Image.open(io.BytesIO(what.screenshot(**settings))).convert("RGB")
        taken.quantize(256, dither=Image.Dither.NONE).save(self.folder / f"{name}.png", optimize=True)

    def gallery(self) -> None:
        page = self.open("/", height=672)
        page.wait_for_selector("#clips img")
        self.keep(page, "gallery")

    def attention(self, clip: str) -> None:
        page = self.clip(clip, 18)
        for key in "ca":
            page.keyboard.press(key)
        page.wait_for_selector("text=/orange draws/")
        page.wait_for_timeout(800)
        left = page.locator(".clip-left").bounding_box()
        words = page.locator("text=/orange draws/").bounding_box()
        area = {**left, "height": words["y"] + words["height"] + 20 - left["y"]}
        self.keep(page, "attention", full_page=True, clip=area)

    def compare(self, clip: str) -> None:
        page = self.open(f"/compare?dataset={self.dataset}")
        page.wait_for_selector("text=/tracked in both ways/")
        page.locator(".disagreements li a", has_text=clip).first.click()
        page.wait_for_selector("#mean-overlap >> text=Mean")
        page.wait_for_selector("#canvas-b[data-loaded=true]")
        page.wait_for_timeout(1000)
        self.keep(page, "compare")

    def phone(self, clip: str) -> None:
        phone = {"width": 390, "height": 844, "color_scheme": "dark", "has_touch": True, "device_scale_factor": 1.5}
        self.keep(self.clip(clip, FRAME, **phone), "phone")

    def correct(self, clip: str) -> None:
        """Draw the true box, and after saving and running what follows, look at what became of it."""
        page = self.clip(clip)
        page.click("#edit-box")
        edge = page.locator(".box-picture").bounding_box()
        data = page.request.get(f"{self.site}/api/clip?dataset={self.dataset}&clip={clip}").json()
        scale = edge["width"] / data["tube"]["width"]
        xs, ys = zip(*data["truth"][0][0], strict=True)
        corners = [(edge["x"] + x * scale, edge["y"] + y * scale) for x, y in ((min(xs), min(ys)), (max(xs), max(ys)))]
        page.mouse.move(*corners[0])
        page.mouse.down()
        page.mouse.move(corners[1][0] + 20, corners[1][1] - 20)
        page.mouse.move(*corners[1])
        page.mouse.up()
        page.wait_for_timeout(500)
        self.keep(page, "correct")
        page.click("#save-boxes")
        page.locator(".rerun-command .button.primary").click()
        page.wait_for_selector("[data-figure=score]", timeout=RERUN_MS)
        page.locator(".scrub").fill(str(FRAME))
        page.wait_for_timeout(5000)  # the message that it is done has gone
        page.evaluate("window.scrollTo(0, 0)")
        self.keep(page, "again")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site")
    parser.add_argument("folder", type=Path)
    parser.add_argument("-d", "--dataset", required=True)
    parser.add_argument("--wrong", required=True)
    parser.add_argument("--right", required=True)
    parser.add_argument("--only", default="gallery,clip,attention,compare,phone,correct")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        camera = Photographer(browser, arguments.site, arguments.folder, arguments.dataset)
        steps = {
            "gallery": camera.gallery,
            "clip": lambda: camera.keep(camera.clip(arguments.wrong, FRAME), "clip"),
            "attention": lambda: camera.attention(arguments.right),
            "compare": lambda: camera.compare(arguments.right),
            "phone": lambda: camera.phone(arguments.wrong),
            "correct": lambda: camera.correct(arguments.wrong),
        }
        for name in arguments.only.split(","):
            steps[name]()
        browser.close()


if __name__ == "__main__":
    main()

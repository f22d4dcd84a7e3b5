"""`tubeflow view` with 10,000 clips: how soon a page of the gallery's rows is answered, wherever one scrolls to.

The workspace is that of `benchmarks.catalog_scale`, its 40,000 artifacts a few kilobytes each. Requests go through the
whole application, guard and JSON included, without a socket.

    python -m benchmarks.view_gallery [--clips 10000] [--folder DIR to keep and use again]

Times are of the processor, client included, so that a busy machine doesn't count; the clock's are beside them.
Baseline, measured in the same run: the answer to a static file, which costs the application and nothing of ours.
Limit: 100 ms for a page of 120 rows.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from starlette.testclient import TestClient

from benchmarks.catalog_scale import DATASET, fill, make_folder, print_line, tubeflow
from flows.view.access import Access
from flows.view.server import make_app
from flows.view.state import ViewState

LIMIT_MS, PAGE = 100.0, 120


def milliseconds(act: Callable[[int], Any], repeats: int = 30) -> tuple[float, float, float]:
    """Of several requests: median and largest of the processor's time, median of the clock's."""
    used, waited = [], []
    for number in range(repeats):
        started, before = time.perf_counter(), time.process_time()
        answer = act(number)
        used.append((time.process_time() - before) * 1000)
        waited.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, answer.text
    return median(used), max(used), median(waited)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gallery-") as name:
        folder = arguments.folder or Path(name)
        root = folder / "workspace"
        if not any(root.glob("runs/*/run.json")):
            make_folder(folder / "videos", arguments.clips)
            tubeflow(root, "ingest", "folder", "--name", DATASET, "--videos", str(folder / "videos"))
            fill(root, where=None)
        sys.exit(0 if measure(root) else 1)


def measure(root: Path) -> bool:
    """Print the table; whether every page stayed within the limit."""
    state, access = ViewState(root), Access()
    started, before = time.perf_counter(), time.process_time()
    total = len(state.current().rows)
    used, waited = time.process_time() - before, time.perf_counter() - started
    print_line("reading the workspace   %.2f s (clock %.2f s) for %d clips", used, waited, total)
    random.seed(0)
    headers = {"x-tubeflow-csrf": access.csrf}
    with TestClient(make_app(state, access), base_url="http://127.0.0.1:8321") as client:

        def rows(**params: Any) -> Callable[[int], Any]:
            return lambda number: client.get(
                "/api/clips", params={"limit": PAGE, "offset": random.randrange(total), **params}
            )

        def search(number: int) -> Any:
            return client.get("/api/clips", params={"limit": PAGE, "q": f"c{number}"})

        def mark(number: int) -> Any:
            body = {"dataset": DATASET, "clip": f"c{number}", "bad": True}
            return client.post("/api/labels", json=body, headers=headers)

        baseline, _, clock = milliseconds(lambda number: client.get("/static/shared/base.js"))
        print_line("static file (baseline)  %.1f ms, clock %.1f ms", baseline, clock)
        worst = 0.0
        for label, act in {
            "a page of rows": rows(),
            "sorted by name": rows(sort="name"),
            "one split": rows(split="train"),
            "each search new": search,
        }.items():
            middle, largest, clock = milliseconds(act)
            worst = max(worst, largest)
            line = "%-22s  %.1f ms, at most %.1f ms, clock %.1f ms; %.1f × the baseline"
            print_line(line, label, middle, largest, clock, middle / baseline)
        middle, largest, clock = milliseconds(mark, 5)
        print_line("a clip marked bad       %.0f ms, at most %.0f ms, clock %.0f ms", middle, largest, clock)
        after, _, clock = milliseconds(rows(), 5)
        print_line("a page right after it   %.1f ms, clock %.1f ms", after, clock)
    print_line("largest page %.1f ms (limit %.0f ms)", worst, LIMIT_MS)
    return worst <= LIMIT_MS


if __name__ == "__main__":
    main()

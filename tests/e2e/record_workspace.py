"""Record a small workspace with an older version of Tubeflow, for `test_recorded_workspace.py`.

`python tests/e2e/record_workspace.py CHECKOUT ARCHIVE.tar.xz` works with the commands of the version in the folder
CHECKOUT alone, as a user would: draw five clips (two of them for testing), spoil the video of one, correct a score and
a first-frame box, then train and evaluate TSA-Net and PlainNet. `recorded/2ed9472.tar.xz` was made so from commit
2ed9472, the last one before the packages were divided into rooms:

    git worktree add /tmp/tubeflow-2ed9472 2ed9472
    python tests/e2e/record_workspace.py /tmp/tubeflow-2ed9472 tests/e2e/recorded/2ed9472.tar.xz

Left out is what nothing reads again: the pictures and pages of a run, the folders that a training works in, locks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

SETTINGS = (
    "normalize.length=16",
    "normalize.width=114",
    "normalize.height=64",
    "detect.detector=annotation",
    "detect.select=score",
    "detect.min_score=0.25",
    "track.tracker=mil",
    "track.weights=null",
    "masks.crop=64",
    "masks.starts=[0]",
    "train.epochs=1",
    "train.lr=1e-30",  # two networks of one seed keep the same backbone, which an archive holds once
    "train.batch=1",
    "train.loggers=[csv]",
    "engine.workers=2",
    "engine.device=cpu",
)
SPOILT = "diving_0001"
CORRECTED = ("diving_0000", "score=61.5", "box=150,75,46,105")
REMADE = (".png", ".html", ".lock", ".tmp")
WORKING_FOLDER = ".work"


def tubeflow(checkout: Path, folder: Path, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TUBEFLOW_USER": "recorder"}
    subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=folder, env=environment, check=True)


def record(checkout: Path, folder: Path) -> None:
    """Fill `folder/videos` and `folder/workspace`."""
    drawing = ("--clips", "3", "--held-out", "2", "--seed", "3", "--size", "320x240", "--out", "videos")
    tubeflow(checkout, folder, "datasets", "make", "procedural", "--name", "tiny", *drawing)
    os.truncate(folder / "videos" / "videos" / f"{SPOILT}.mp4", 2000)
    tubeflow(checkout, folder, "labels", "set", *CORRECTED, "--dataset", "tiny")
    overrides = [word for setting in SETTINGS for word in ("-o", setting)]
    for attention in ("tsa", "none"):
        tubeflow(checkout, folder, "run", "demo", "-d", "tiny", *overrides, "-o", f"model.attention={attention}")


def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what is made again, and whose computer this was."""
    parts = Path(member.name).parts
    if member.name.endswith(REMADE) or any(part.endswith(WORKING_FOLDER) for part in parts):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main() -> None:
    checkout, archive = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory(prefix="tubeflow-recorded-") as folder:
        record(checkout, Path(folder))
        with tarfile.open(archive, "w:xz", preset=9) as tar:
            for name in ("videos", "workspace"):
                tar.add(Path(folder) / name, name, filter=kept)


if __name__ == "__main__":
    main()

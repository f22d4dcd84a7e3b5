"""A virtual environment of its own, over this one's packages: what is installed there is there alone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.support import REPO


class FreshEnvironment:
    """An environment in `folder` that sees Tubeflow from this checkout, and the packages of the test's own one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=True)
        (site,) = folder.glob("lib/python*/site-packages")
        # A line that runs, unlike one with a path, also takes over what the folder's own .pth files say.
        lines = [f"import site; site.addsitedir({path!r})" for path in sorted({*site_folders()})]
        (site / "over_the_tests_own.pth").write_text("\n".join(lines) + "\n")

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / "bin" / "python"

    def install(self, *packages: Path) -> None:
        """As `pip install` does, without an index and without what the package depends on."""
        words = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-deps",
                 "--no-index", "--no-build-isolation", "--disable-pip-version-check", *map(str, packages)]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *words: str | Path, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """`python WORDS` in `cwd`, which ends with `status`."""
        done = subprocess.run(
            [self.python, *words], cwd=cwd, env=_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def start(self, *words: str | Path, log: Path) -> subprocess.Popen[bytes]:
        """`python WORDS` in the background, in the log's folder; what it says goes to `log`."""
        with log.open("ab") as file:
            return subprocess.Popen(
                [self.python, *words], cwd=log.parent, env=_environment(), stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUBEFLOW_")}
    return kept | {"PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}


def site_folders() -> list[str]:
    """Where the packages of the test's own environment are."""
    return [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]

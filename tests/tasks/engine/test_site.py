"""A worker that isn't where the run is says so in one sentence, and computes nothing."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from tasks.engine import site as sites
from tasks.engine.errors import EngineError
from tasks.engine.site import Site, check_in
from tests.support import REPO
from tests.support.prefect_server import free_port


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w")


def test_the_same_workspace_is_found_by_what_is_in_it(workspace: Workspace, tmp_path: Path) -> None:
    site = Site.make(workspace, (str(tmp_path),), None)
    check_in(site, workspace.root)
    elsewhere = tmp_path / "mounted under another name"
    elsewhere.symlink_to(workspace.root)
    check_in(site, elsewhere)


def test_a_workspace_of_the_same_path_and_another_content_is_another(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that has a folder, or a copy, where the others have mounted the workspace."""
    monkeypatch.setattr(sites, "PATIENCE_SECONDS", 0.0)
    earlier = Site.make(workspace, (), None)
    workspace.store.close()
    shutil.copytree(workspace.root, workspace.root.with_name("copy"))
    now = Site.make(workspace, (), None)
    forged = workspace.root.with_name("copy") / now.file
    forged.parent.mkdir(parents=True)
    forged.write_text(earlier.token)
    for site, root in [(earlier, workspace.root), (now, workspace.root.with_name("copy"))]:
        with pytest.raises(EngineError, match=r"^The worker \d+ on .+ doesn't see this run's workspace at .+; mount"):
            check_in(site, root)


def test_other_versions_and_videos_that_are_not_there_are_named(workspace: Workspace, tmp_path: Path) -> None:
    site = Site.make(workspace, (str(tmp_path / "videos"),), None)
    with pytest.raises(EngineError, match=r"doesn't see the videos in .+/videos; mount that folder there"):
        check_in(site, workspace.root)
    old = tuple((name, "0.0" if name in ("Python", "numpy") else version) for name, version in site.versions)
    with pytest.raises(EngineError, match=r"has Python 3\.\d+ instead of 0\.0, numpy \S+ instead of 0\.0; install"):
        check_in(dataclasses.replace(site, versions=old), workspace.root)


LOOK = """
import pickle, sys
from pathlib import Path
from tasks.engine.errors import EngineError
from tasks.engine.site import check_in
try:
    check_in(pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
except EngineError as exc:
    sys.exit(str(exc))
"""


@pytest.mark.parametrize(
    ("version", "said"),
    [("1.0", ""), ("2.0", "tubeflow-gadget 2.0 instead of 1.0"), (None, "tubeflow-gadget missing instead of 1.0")],
)
def test_a_worker_process_with_another_version_of_a_plugins_package_says_so(
    version: str | None, said: str, workspace: Workspace, tmp_path: Path
) -> None:
    """The other environment is a folder of packages with the metadata that pip would have written there."""
    (tmp_path / "site").write_bytes(pickle.dumps(Site.make(workspace, (), None, {"tubeflow-gadget": "1.0"})))
    packages = tmp_path / "packages"
    if version is not None:
        (packages / f"tubeflow_gadget-{version}.dist-info").mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: tubeflow-gadget\nVersion: {version}\n"
        (packages / f"tubeflow_gadget-{version}.dist-info" / "METADATA").write_text(metadata)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, tmp_path / "site", workspace.root], capture_output=True, text=True, check=False,
        cwd=REPO, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), str(packages)])},
    )  # fmt: skip
    assert (done.returncode != 0) == bool(said), done.stderr
    assert len(done.stderr.splitlines()) == (1 if said else 0), done.stderr
    if said:
        sentence = rf"^The worker \d+ on .+ has {re.escape(said)}; install the same versions on every machine\.$"
        assert re.search(sentence, done.stderr)


def test_a_server_that_a_worker_does_not_reach_is_named(workspace: Workspace) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    with pytest.raises(EngineError, match=f"doesn't reach the Prefect server {url} .ConnectError.; start one"):
        check_in(Site.make(workspace, (), url), workspace.root)

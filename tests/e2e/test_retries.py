"""Prefect's own retries: I/O trouble is tried again within the run, bad data never, and what is done stays done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.prefect_home import prefect_home


def test_trouble_is_retried_bad_data_is_not_and_hits_show_as_cached(tmp_path: Path) -> None:
    script = Path(__file__).with_name("retrying_flow.py")
    environment = os.environ | {"PREFECT_HOME": str(prefect_home(tmp_path / "prefect"))}
    command = [sys.executable, str(script), str(tmp_path / "w")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {
        "tried": ["good", "bad", "trouble", "trouble"],
        "states": ["Completed", "Cached"],
        "made": ["good", "trouble"],
        "quarantined": ["bad"],
    }

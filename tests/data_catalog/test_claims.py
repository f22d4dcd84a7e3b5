"""Claims: one owner a key, gone with its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from data_catalog.claims import Claims

TAKE = (
    "import sys; from pathlib import Path; from data_catalog.claims import Claims\n"
    "claim = Claims(Path(sys.argv[1])).take('track', 'k')\n"
    "print(claim is not None, flush=True); sys.stdin.read()\n"
)


def test_a_key_is_claimed_by_one_until_it_is_released(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    mine = claims.take("track", "k")
    assert mine is not None
    assert claims.take("track", "k") is None
    assert claims.take("track", "other") is not None
    assert claims.owner("track", "k").startswith(f"process {os.getpid()} on ")
    mine.release()
    mine.release()  # again is harmless
    assert claims.take("track", "k") is not None


def test_a_claim_dies_with_its_owner(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    command = [sys.executable, "-c", TAKE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "True\n"
        assert claims.take("track", "k") is None
        claims.sweep()
        assert claims.take("track", "k") is None  # what is held stays
        os.kill(owner.pid, signal.SIGKILL)
    claims.sweep()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert claims.take("track", "k") is not None

"""What the command line loads before it knows which command is wanted."""

import subprocess
import sys

from tests.support import REPO


def test_no_command_line_loads_torch() -> None:
    """It takes seconds, which a mistyped command and --help don't have."""
    program = "import sys, flows.cli.main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

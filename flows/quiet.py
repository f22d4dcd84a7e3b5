"""Log levels of the command line; imported before Prefect, which reads them when it is imported.

The bars and tables say what a user wants to know, failures included; Prefect would add a traceback to each of those.
`PREFECT_LOGGING_LEVEL=INFO tubeflow run …` shows every task run.
"""

import logging
import os

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
# What the rooms warn of is in the summary too, as a note or a quarantined clip.
os.environ.setdefault("PREFECT_LOGGING_ROOT_LEVEL", "ERROR")
# The server of a single command is stopped in the middle of its bookkeeping and complains about that.
os.environ.setdefault("PREFECT_LOGGING_SERVER_LEVEL", "CRITICAL")

# A wait for another process is no warning for a log but the answer to "why does nothing happen?".
_waits = logging.getLogger("data_catalog.locks")
_waits.addHandler(logging.StreamHandler())
_waits.propagate = False

"""Log levels of the command line; imported before Prefect, which reads them when it is imported.

The bars and tables say what a user wants to know. `PREFECT_LOGGING_LEVEL=INFO tubeflow run …` shows every task run.
"""

import os

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
# The server of a single command is stopped in the middle of its bookkeeping and complains about that.
os.environ.setdefault("PREFECT_LOGGING_SERVER_LEVEL", "CRITICAL")

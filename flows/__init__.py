"""Flows and the command line. Prefect reads its settings when it is imported, so they are set here, before that."""

import os

from flows.shadowed import refuse_shadowed

refuse_shadowed()

# Nothing leaves this machine unless the user says so, and the rooms' own log lines reach a run's page.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "flows,tasks,models,data_catalog")
# Outside of a run there is no page for them to reach; that is nothing to warn of.
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
# A run without a server brings its own, whose imports alone take a busy machine longer than the 20 s that it is given.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")

"""Flows and the command line. Prefect reads its settings when it is imported, so they are set here, before that."""

from flows.environment import prepare_environment
from flows.shadowed import refuse_shadowed

refuse_shadowed()
prepare_environment()

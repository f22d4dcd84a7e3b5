"""Matrices of runs, and runs compared."""

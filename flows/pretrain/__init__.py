"""Flows that make the weights of our own tracker and detector."""

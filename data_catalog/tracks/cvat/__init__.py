"""CVAT: its XML and its JSON, and what both have in common."""

"""Trackers and detectors evaluated, tubes compared, tracks exported."""

"""What computes: geometry, attention, networks, trackers, detectors, metrics. Imports nothing else of ours."""

"""How trackers and detectors, beside each other or beside the truth, are shown on a terminal."""

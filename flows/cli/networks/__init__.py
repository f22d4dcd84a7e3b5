"""Commands about detectors, trackers and their weights by themselves, apart from a dataset's pipeline."""

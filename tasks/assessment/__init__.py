"""How good tubes and detections are: against ground truth, and where there is none."""

"""Clips whose poses are all that is known of them, with a labels.csv: features of x, y and confidence of each joint."""

from __future__ import annotations

from data_catalog.datasets.feature_folder import FeaturesAdapter
from data_catalog.datasets.poses import pose_files


class PosesAdapter(FeaturesAdapter):
    """A folder with CLIP.json (AlphaPose, COCO) or CLIP.npy of each clip; `pose_files.py` says what they hold."""

    suffixes = pose_files.SUFFIXES
    posed = True
    read_steps = staticmethod(pose_files.read_steps)

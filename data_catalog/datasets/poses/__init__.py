"""Poses of other programs: their files, a layer of a dataset of videos, a dataset of poses alone."""

"""Trainings of the small detector and tracker whose weights ship with Tubeflow."""

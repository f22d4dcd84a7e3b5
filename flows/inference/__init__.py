"""What one does with a run's weights: scoring new videos, exporting the model."""

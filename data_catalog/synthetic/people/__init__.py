"""Rendered people: bodies in poses, clothed, with the boxes and masks of what is visible."""

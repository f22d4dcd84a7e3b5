"""Filmed clips with people labelled in them: what trackers learn from beside made-up pictures."""

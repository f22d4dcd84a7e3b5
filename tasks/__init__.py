"""The stages, each a file, and what they are made of."""

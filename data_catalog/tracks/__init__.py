"""Tracks as other programs and benchmarks write them: text files, masks, folders of sequences."""

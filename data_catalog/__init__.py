"""The workspace: stored artifacts, catalog tables, datasets, media files, weights."""

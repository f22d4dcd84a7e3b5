"""What the pages ask for under /api, and the media they load: one file for each group of addresses."""

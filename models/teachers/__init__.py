"""Networks of others that label footage for ours to learn from; no stage of the pipeline asks them."""

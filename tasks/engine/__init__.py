"""What runs stages: jobs, keys, plans, failures, progress."""

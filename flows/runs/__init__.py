"""What is known of a run, before, while and after it: summary, record, quality of its tubes, truth."""

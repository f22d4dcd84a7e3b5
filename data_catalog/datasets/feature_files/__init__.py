"""Feature files of other projects: opened as data, and searched for what belongs to a clip."""

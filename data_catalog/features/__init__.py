"""Features of clips that a frozen network made: the file of one clip, and reading many."""

"""How the records that commands return are printed on a terminal: one file a subject, nothing computed."""

"""Pictures and videos that a program draws: sport clips, composites, people, and their materials."""

"""What a workspace holds, where it comes from, and what may go."""

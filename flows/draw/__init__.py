"""Pictures of clips and tubes."""

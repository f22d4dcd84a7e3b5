"""What a clip's pictures say without a network: the camera's motion, cuts, and whether colours stay."""

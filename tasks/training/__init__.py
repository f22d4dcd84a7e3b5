"""Training of TSA-Net: configuration, network, loop, checkpoints, metrics."""

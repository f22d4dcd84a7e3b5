"""Weights of networks by name: the registry, downloads, and their digests."""

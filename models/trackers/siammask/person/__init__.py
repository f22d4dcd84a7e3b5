"""The small form of SiamMask that knows athletes: its network, how it is followed with, and what it learns."""

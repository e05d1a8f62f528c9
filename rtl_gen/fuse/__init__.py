"""Adaptive kernel fusion: fuse selector, weights of parts and their sums."""

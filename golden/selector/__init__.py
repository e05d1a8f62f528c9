"""Fuse selector: statistics of blocks, performance table, candidate of least cost."""

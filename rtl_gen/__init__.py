"""Amaranth generators for the sparse INT8 array, and its configuration."""

"""Adaptive kernel fusion: pattern analyser, selector, weight adapter and fusion unit."""

"""Adaptive kernel fusion: pattern analysis, decomposition, selection and fusion arithmetic."""

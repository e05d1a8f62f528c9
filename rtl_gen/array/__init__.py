"""The array: engines, drain groups and the broadcast of activation tiles."""

from .array import SparseArray

__all__ = ["SparseArray"]

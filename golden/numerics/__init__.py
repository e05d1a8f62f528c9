"""Arithmetic of the hardware in exact integers: quantisation, packed products, weighted sums."""

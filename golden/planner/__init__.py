"""How a product is laid out on an array: kernels, parts, tiles, columns of each engine."""

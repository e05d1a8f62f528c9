"""Models made smaller: pruning, and weights dropped within an error budget."""

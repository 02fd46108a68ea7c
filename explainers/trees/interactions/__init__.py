"""Interaction values of sums of trees: the kernels, and which of them fits the work."""

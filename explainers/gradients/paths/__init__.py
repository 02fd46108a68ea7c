"""Sums of gradients along paths and around cases."""

"""Gradients of a module's own outputs: with respect to its inputs, along a path, and at a layer."""

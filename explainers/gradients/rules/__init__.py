"""Backward passes with rules of their own in the place of slopes."""

"""Searches for the smallest permitted change of a case."""

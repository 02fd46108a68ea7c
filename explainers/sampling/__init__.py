"""Numerics that methods share: edited cases, grids, groups, coalitions, estimators."""

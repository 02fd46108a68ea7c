"""Shapley values from coalitions of players: which to ask for, and what follows from the answers."""

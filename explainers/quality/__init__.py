"""How far a map can be believed: what it has in a region, and what becomes of it and of the score when something is taken away."""

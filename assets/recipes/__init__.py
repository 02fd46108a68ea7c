"""How each prepared workspace is made: its data, what is planted in it, and the models trained on it."""

"""What features do to sums of trees, from one pass over the trees: curves, means, moves and pairs."""

"""Trees of every library, read so that exact algorithms can walk them."""

"""Pictures that a part of a network answers to most strongly."""

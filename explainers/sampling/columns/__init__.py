"""Columns whose values are exchanged between rows: where from, and what the predictions then say."""

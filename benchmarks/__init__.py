"""Speed, measured and never asserted: ``python -m benchmarks page`` and ``python -m benchmarks explainers``."""

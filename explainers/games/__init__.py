"""Games: what a model answers where only some features, segments or words of a case are left. Estimators see only these."""

"""Processes apart from the web server, in which models and uploaded data are opened."""

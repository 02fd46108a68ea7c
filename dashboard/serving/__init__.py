"""The web server: Streamlit's own, with safe options, behind a gate that refuses what a visitor has no use for."""

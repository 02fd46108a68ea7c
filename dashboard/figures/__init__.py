"""Results as Plotly figures: pure functions, one module per family. Nothing here knows Streamlit."""

from dashboard.figures.frame import figure_dict

__all__ = ["figure_dict"]

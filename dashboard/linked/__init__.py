"""Linked controls, text, charts, tables and pictures which repaint in place, in one Streamlit component."""

from dashboard.linked.host import linked_host
from dashboard.linked.payload import PayloadError, validate

__all__ = ["PayloadError", "linked_host", "validate"]

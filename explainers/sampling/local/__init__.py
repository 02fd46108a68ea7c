"""LIME's neighbours of a case and the local models fitted to them."""

"""RISE's random masks and the maps of pictures that come of them."""

"""Localize: an image becomes an honest pose. No torch."""

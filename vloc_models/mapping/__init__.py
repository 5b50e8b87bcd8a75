"""Mapping: a bag becomes a map."""

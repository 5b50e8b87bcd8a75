"""Engines run a graph: dict of arrays in, dict of arrays out; they know no network."""

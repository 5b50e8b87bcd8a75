"""Engines run a graph: the same call, dict of arrays in, dict of arrays out; they know no network."""

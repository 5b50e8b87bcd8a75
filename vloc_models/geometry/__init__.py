"""Rigid transforms and cameras, in numpy float64 (``tensors`` has the torch twins)."""

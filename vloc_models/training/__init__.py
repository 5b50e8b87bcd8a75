"""Training: one file a family, and the loop that they share."""

"""The networks: each file holds the settings, the net and the loss of one family."""

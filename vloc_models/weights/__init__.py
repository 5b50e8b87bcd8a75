"""Our own encoder, with its model card in README.md."""

"""Synthetic speech with known degradations: the embedded corpus."""

"""Earwitness: train, run and trust speech judges on top of LLaMA-Factory."""

__version__ = "0.1.0"

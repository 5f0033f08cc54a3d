"""Audio: reading any clip, exact mel features, lengths from headers, feature caches, signal quality.

Nothing here knows LLaMA-Factory: ``earwitness.register`` puts these functions in the host's place.
"""

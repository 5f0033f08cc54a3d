"""Building corpora of descriptions: what is measured of a clip, and what an expert LLM writes about it."""

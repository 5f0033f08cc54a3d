"""Judges: prompt, labels, scale and parser of each side by side, and the registry that ``dataset_info.json`` names."""

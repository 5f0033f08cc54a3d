"""Rewards: rules, grades of a text LLM, and functions of the user's own, behind one registry."""

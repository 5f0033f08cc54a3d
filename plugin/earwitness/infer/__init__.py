"""Running judges over records: engines, prompts, label probabilities, and runs that survive a crash."""

"""``stage: grpo``: group relative policy optimisation of a speech judge (DeepSeekMath, arXiv 2402.03300)."""

"""Distillation from a text expert (ALLD): ``stage: dpo`` whose reference reads ratings instead of hearing the clips."""

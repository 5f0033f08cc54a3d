"""Synthetic SpeechEval: its four tasks on synthetic speech, with a truth that is known.

1. ``scenes``: a clean recording of ``data/synth`` gets at most one distortion of SpeechEval's kinds in a known
   interval, a speech rate and a level that are drawn; or, for detection, goes through ``vocoder`` (fake) or not (real);
   or gets several distortions at once, for a judge to learn to hear them before it learns the tasks;
2. ``truth``: scores of dimensions, preferences and areas of improvement that follow from what was done, by formulas;
3. ``texts``: that truth as SpeechEval's ``<think>`` lines and prose, in English as there, and read back by its parsers;
4. ``build``: files of the tasks in three splits, disjoint in voices and sentences; ``earwitness synth-speecheval``.

What such data can show: that a judge learns all four tasks and their form, hears what kind of distortion is where, and
says what follows from it, in four languages. What it cannot: how people rate speech (the formulas are ours), emotion,
expression and speakers (nothing is known of them here, so nothing is said), or how real deepfakes sound: "real" is
synthetic speech too, and "fake" the same speech through a channel vocoder.
"""

"""Synthetic speech with known degradations: the embedded corpus.

One clip goes through these rooms, and depends on its split, its number and the corpus seed only:

1. ``sentences`` and ``voices``: eSpeak NG speaks a sentence of the split by a speaker of the split;
2. ``source``: the dry speech becomes a clean recording, with edges, room, microphone, breath and a background floor,
   as varied at every severity as real recordings are;
3. ``degrade`` (with ``noise``, ``coloration``, ``codecs``, ``levels``): independent severities of noise, coloration,
   discontinuity and loudness. It takes real speech as well;
4. ``corpus`` writes the clips, ``pairs`` asks who is better where the severities are near or far enough, ``text``
   says why.

What such data can show: that a judge hears these four degradations, in voices and sentences that it never heard.
What it cannot: how people weigh them. The severities are scales of ours, and the overall severity a declared formula.
"""

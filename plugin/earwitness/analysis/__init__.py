"""How good a clip sounds, from the signal: mos, noi, col, dis and loud on 1 to 5, and the measurements behind them.

``gaps`` finds lost sound, ``voice`` finds the speech, ``measure`` says what a person wants to know, ``profile``
describes the sound in numbers whose weights ``fit`` learns from synthetic degradations of known severity; ``signal``
puts these together. ``nisqa`` is the other engine, a published neural network. ``run`` rates many files.
"""

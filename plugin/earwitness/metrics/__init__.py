"""What the verdicts, scores and texts of a judge are worth: pure functions that return ``Figure`` objects.

Rooms: ``figures`` (the result type) and ``intervals`` (bootstrap, Wilson) carry everything else. ``verdicts``,
``agreement``, ``trust`` and ``duels`` are about pairwise verdicts, ``scores`` about ratings, ``detection`` about real
or fake, ``evaluator_text`` about replies of text LLMs, ``ranking`` about systems. ``joining`` pairs predictions with
their references, ``*_report`` assemble what the scripts in ``scripts/my_infer`` print.
"""

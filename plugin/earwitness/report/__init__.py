"""Tables, plots and pages that show what was measured."""

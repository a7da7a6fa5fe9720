"""How fast models are: timed in one process, with intervals and a check that the timing is fair."""

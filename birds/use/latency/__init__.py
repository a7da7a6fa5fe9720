"""How fast models are: raced in one process, with intervals, and with a check that the race is
fair.
"""

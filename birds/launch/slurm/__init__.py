"""Runs as jobs of a SLURM cluster: submitted once, with dependencies, and followed mainly through
their folders.
"""

"""Runs as jobs of a SLURM cluster: submitted once, wired by what they need, watched by reading run
folders first.
"""

"""Sweeps: planned, started on this machine or on SLURM, followed and resumed."""

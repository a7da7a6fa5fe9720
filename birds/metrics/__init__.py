"""Metrics of saved predictions and restored photos, and the cost of a run."""

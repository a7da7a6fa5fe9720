"""Metrics as functions of saved predictions and restored photos, and what a run costs."""

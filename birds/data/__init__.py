"""Turns photos on disk into batches on the device."""

"""What to do with a finished run: predict, quantize, time, explore, and send to W&B."""

"""Uses of a finished run: predict, quantize, time, explore, and send to W&B."""

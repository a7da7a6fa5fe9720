"""What is done with a finished run: predict, quantize, time, look into, send to W&B."""

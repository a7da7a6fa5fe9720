"""Pretrainings: what an encoder learns from unlabelled images, one file each."""

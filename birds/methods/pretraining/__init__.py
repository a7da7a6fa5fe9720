"""Pretrainings: methods that train an encoder on unlabelled images, one file each."""

"""Classifiers: an encoder, a head, and what is learnt beside the labels."""

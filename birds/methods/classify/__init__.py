"""Classifiers: trained on labelled images, and perhaps on unlabelled ones."""

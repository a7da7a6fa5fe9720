"""Classifiers: trained on labelled images, some also on unlabelled images."""

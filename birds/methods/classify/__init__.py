"""Classifiers: labelled images, and unlabelled ones beside them, to scores."""

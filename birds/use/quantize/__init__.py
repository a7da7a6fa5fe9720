"""Exports finished classifiers to files for other programs, quantizes them, and compares them with
the checkpoint.
"""

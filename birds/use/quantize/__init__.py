"""Finished classifiers as files that other programs run: exported, made small, and measured against
the checkpoint.
"""

"""What an encoder learned, looked at without a classifier: latent vectors, their clusters, pictures
of both.
"""

"""The embedded data set: birds drawn by code, and the folder that they are written into."""

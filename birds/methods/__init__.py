"""What is trained, as LightningModules: restoring photos, telling looks apart, and telling species
apart.
"""

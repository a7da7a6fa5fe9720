"""What is trained, as LightningModules: restoring photos, and telling species apart."""

"""birds: does self-supervised pretraining pay with many photos and few labels?"""

__version__ = "0.1.0"

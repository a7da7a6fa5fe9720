"""birds: does self-supervised pretraining pay with many photos and few labels?"""

import sys

__version__ = "0.1.0"

if sys.platform == "win32":
    sys.exit("birds: Windows is not supported (files are locked as POSIX does); use WSL 2 or Linux")

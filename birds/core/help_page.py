"""The page of `python train.py --help`: examples, configs/config.yaml with its comments, and the
options of each group.

No configuration is composed, so the page appears at once. `--hydra-help` lists Hydra's own options,
and `--cfg job` prints the composed configuration.
"""

import os
from pathlib import Path
from textwrap import fill

EXAMPLES = """Train one run or, with -m, a sweep. A choice is written key=value.

  python train.py split=90 variant=B2                    one run, and the pretraining it needs
  python train.py -m split=70,90 variant=A,B1,B2         a sweep over every combination
  python train.py -m data=folder data.root=photos data.unlabelled=more variant=A,FixMatch
                                                         the same comparison on your own photos

Add dry_run=true to print the plan without starting anything. --cfg job prints the composed
configuration, --hydra-help lists Hydra's own options. These are all choices with their defaults:
"""


def help_page() -> str:
    """The page as text. Reads the configurations in the folder `$BIRDS_HOME/configs`."""
    configs = Path(os.environ["BIRDS_HOME"]) / "configs"
    groups = [folder for folder in sorted(configs.iterdir()) if folder.is_dir()]
    lines = [EXAMPLES, (configs / "config.yaml").read_text(), "# The options of each group:"]
    for folder in groups:
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        lines.append(fill(f"{folder.name}: {names}", width=100, subsequent_indent="  "))
    sweeps = sorted(file.stem for file in (configs.parent / "sweeps").glob("*.yaml"))
    lines.append(fill(f"sweeps: {', '.join(sweeps)}", width=100, subsequent_indent="  "))
    return "\n".join(lines)

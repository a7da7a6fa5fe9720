"""`python train.py --help`: three examples, configs/config.yaml with its comments, and what each
group offers.

Nothing is composed, so the page is there at once. Hydra's own options are under `--hydra-help`, and
`--cfg job` prints a configuration as it is composed.
"""

import os
from pathlib import Path
from textwrap import fill

EXAMPLES = """Train one run or, with -m, a sweep. A choice is written key=value.

  python train.py split=90 variant=B2                    one run, and the pretraining it needs
  python train.py -m split=70,90 variant=A,B1,B2         a sweep: every combination
  python train.py -m data=folder data.root=photos data.unlabelled=more variant=A,FixMatch
                                                         the same question on your own photos

Add dry_run=true to see the plan and start nothing. --cfg job prints a composed configuration,
--hydra-help Hydra's own options. These are all choices, with their defaults:
"""


def help_page() -> str:
    """The page as text. The folder of configurations is found through `BIRDS_HOME`."""
    configs = Path(os.environ["BIRDS_HOME"]) / "configs"
    groups = [folder for folder in sorted(configs.iterdir()) if folder.is_dir()]
    lines = [EXAMPLES, (configs / "config.yaml").read_text(), "# What the groups offer:"]
    for folder in groups:
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        lines.append(fill(f"{folder.name}: {names}", width=100, subsequent_indent="  "))
    sweeps = sorted(file.stem for file in (configs.parent / "sweeps").glob("*.yaml"))
    lines.append(fill(f"sweeps: {', '.join(sweeps)}", width=100, subsequent_indent="  "))
    return "\n".join(lines)

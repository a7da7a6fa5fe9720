"""W&B after the runs: sends offline runs, and defines dashboards in code."""

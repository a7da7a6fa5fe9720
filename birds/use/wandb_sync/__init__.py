"""W&B after training: sends offline runs, and defines dashboards in code."""

"""What is done with W&B after the runs: sending what was tracked offline, and dashboards as code."""

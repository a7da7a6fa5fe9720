"""What is done with W&B after the runs: sending what was tracked offline, dashboards as code."""

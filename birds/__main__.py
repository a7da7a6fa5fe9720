"""`python -m birds` is the `birds` command."""

from birds.cli import main

main()

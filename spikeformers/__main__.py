"""`python -m spikeformers`: the command, from a checkout or where scripts are not on the path."""

from spikeformers.cli import main

main()

"""What the verbs of the command line do beyond one call: progress, tables, plans. Used by `cli.py` alone."""

"""``python -m voxlate``: the command line, for when its script is not on the path."""

from voxlate.cli import main

main()

"""``python -m voxlate``: the command line where its script is not on the path."""

from voxlate.cli import main

main()

"""Voxlate translates speech to text. Importing it loads no torch: names resolve when they are first used."""

__version__ = "0.1.0"

"""Paths of the repository, and of real data next to it."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
DEMO = ROOT / "recipes" / "demo"
SHARED = ROOT.parent / "shared"

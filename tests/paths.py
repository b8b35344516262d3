"""Paths of the repository, and of real data beside it."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
DEMO = ROOT / "recipes" / "demo"
SHARED = ROOT.parent / "shared"

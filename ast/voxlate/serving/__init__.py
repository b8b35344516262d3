"""The server: an engine that many requests share, and its interfaces."""

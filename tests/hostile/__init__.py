"""Hostile, broken and honest-but-scary files, built byte by byte; nothing in them is ever loaded here."""

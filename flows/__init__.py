"""Command line and the flows behind it."""

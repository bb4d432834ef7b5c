"""WHAT HAPPENED: log store, terminal output, our own log."""

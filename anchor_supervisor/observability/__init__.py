"""WHAT HAPPENED: log store, terminal output, structlog set-up."""

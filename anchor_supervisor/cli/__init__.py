"""WHAT A PERSON TYPES: one verb a file, rendering, the only sys.exit."""

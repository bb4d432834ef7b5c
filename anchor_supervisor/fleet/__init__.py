"""WHAT IS WANTED: fleet.toml as frozen values. Knows no Linux, does no I/O beyond reading files."""

"""WHAT TO DO NEXT: events in, commands out. No clock, no I/O, no log, no random."""

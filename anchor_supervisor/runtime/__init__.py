"""WHERE TRIO LIVES: one inbox, one core, one writer."""

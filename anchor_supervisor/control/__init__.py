"""HOW AN OPERATOR TALKS TO A RUNNING FLEET: protocol, server, client."""

"""The runtime API (door 3): leases, the journal, the end of executions, model credentials."""

"""Live events of executions: the journal, told as it grows."""

"""Lists of executions."""

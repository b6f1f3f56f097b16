"""Monthly partitions of executions and of their journal."""

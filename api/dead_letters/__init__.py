"""Dead letters: outbox entries that a relay gave up, for people to look at and to have delivered again."""

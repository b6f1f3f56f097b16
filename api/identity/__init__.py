"""Identity: roles, permissions, and who calls."""

"""Variables: the values that workflows read as `vars`, and secrets that they cannot read."""

"""OpenID Connect: log in by an account that a provider knows."""

"""How long an organisation keeps things."""

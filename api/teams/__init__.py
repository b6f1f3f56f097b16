"""Teams of an organisation."""

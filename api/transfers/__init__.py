"""Transfers: agents and variables as a zip, out of an organisation and into one."""

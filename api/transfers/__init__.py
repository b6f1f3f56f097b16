"""Transfers: agents, templates and variables as a zip, out of an organisation and into one."""

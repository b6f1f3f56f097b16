"""Invitations to an organisation."""

"""Subscriptions: addresses that hear our own events."""

"""Deliveries: signed messages to addresses of tenants, tried again until they arrive or are given up."""

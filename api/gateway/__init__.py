"""What every request passes before and after its endpoint: bounds, rate limits, headers, metrics, the access log."""

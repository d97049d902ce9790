"""What every layer of the service shares: errors, messages, settings, metrics, log."""

"""Jobs that move models between the hub and this machine."""

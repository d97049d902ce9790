"""From stored names and layouts to ours, and back; no framework, no data until it is read."""

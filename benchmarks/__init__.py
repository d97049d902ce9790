"""One file per claim about speed or memory; see docs/performance.md."""

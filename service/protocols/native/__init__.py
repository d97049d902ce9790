"""The service's own routes: models, predictions, health, metrics."""

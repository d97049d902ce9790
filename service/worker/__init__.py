"""The processes that hold models: a template for each framework, and a worker for each model."""

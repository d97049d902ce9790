"""Loggers of the library: one for each concern, all below ``model_base``."""

import logging


def get_logger(name: str) -> logging.Logger:
    """Return the logger ``model_base.<name>``; handlers and levels are the application's."""
    return logging.getLogger(f"model_base.{name}")

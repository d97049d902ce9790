"""The model-base service: checkpoints of three frameworks behind HTTP."""

__version__ = "0.1.0"

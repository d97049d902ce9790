"""TensorFlow Serving's REST: status, metadata, predict."""

"""Text Embeddings Inference's embed and info."""

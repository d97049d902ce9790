"""Texts to token ids and back, as a model's own files say."""

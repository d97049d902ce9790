"""The hub: names of models there, and their files here."""

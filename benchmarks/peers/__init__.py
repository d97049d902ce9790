"""Servers to compare with, run by interpreters of environments of their own."""

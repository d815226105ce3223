"""Generative capsule networks with routing by address: the library behind the book."""

__version__ = "0.1.0"

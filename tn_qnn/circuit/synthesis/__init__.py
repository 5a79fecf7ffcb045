"""Matrices to elementary gates."""

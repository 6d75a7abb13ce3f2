"""Whole figures."""

"""Sentences that the runs support, refute or leave undetermined."""

"""Batch-size studies: every batch size x learning rate x trial in one compiled program."""

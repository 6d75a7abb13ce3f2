"""Records as runs: lanes by setting, the chosen learning rates, clocks, curves."""

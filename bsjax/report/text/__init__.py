"""Every English sentence about results."""

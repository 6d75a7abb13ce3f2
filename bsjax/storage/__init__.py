"""What lies on disk: records, plans, checkpoints, workdirs, the user cache."""

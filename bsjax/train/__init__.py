"""The host loop of a study and all it needs: stages, transfer, rows of records, runs to the end."""

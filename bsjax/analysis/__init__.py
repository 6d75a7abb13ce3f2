"""From records to tables and a summary."""

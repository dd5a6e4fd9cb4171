"""What the SQL stores have in common: the queue in front of the writer, and the checks made before anything is queued. No database here."""

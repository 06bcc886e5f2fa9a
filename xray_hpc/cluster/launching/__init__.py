"""From overrides to run folders and submitted jobs."""

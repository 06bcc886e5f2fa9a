"""From a composed sweep to run folders and submitted jobs."""

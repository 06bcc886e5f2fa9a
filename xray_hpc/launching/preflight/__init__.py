"""Check a sweep against the cluster before anything is submitted."""

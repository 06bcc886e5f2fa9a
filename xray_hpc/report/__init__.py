"""What a sweep's records add up to: merged tables, figures and the report."""

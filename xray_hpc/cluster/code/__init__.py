"""Which code a launch runs, and with which Python."""

"""What the cluster would refuse, found out before anything is made."""

"""Launch a sweep: plan its runs, create their folders, run them here or submit them to Slurm."""

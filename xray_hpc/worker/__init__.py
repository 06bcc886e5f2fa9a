"""The worker: it trains the runs of a job, classifies failures and requeues the job."""

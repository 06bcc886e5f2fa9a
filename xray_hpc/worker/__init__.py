"""Inside a job: start the training, watch over it, and requeue the job where that helps."""

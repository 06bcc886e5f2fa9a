"""What a job does on its node: watch over trainings, and put itself back where that helps."""

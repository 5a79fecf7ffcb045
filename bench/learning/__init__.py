"""What the models learn, how fast, and from how many evaluations, beside bars in the same run."""

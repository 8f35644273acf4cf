"""What is the matter with data, told before a model is trained on them."""

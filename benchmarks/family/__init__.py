"""A family of small CIFAR-10 networks: definitions, training, and the evaluation of what is learned on them."""

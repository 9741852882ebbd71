"""What a change of features does to a model: the same candidate on the same rows, with it and without."""

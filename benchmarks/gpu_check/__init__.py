"""What one GPU does with the project's own kernels and batches, in a few minutes."""

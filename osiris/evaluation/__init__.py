"""What adapters and policies are worth on days that they were not trained on."""

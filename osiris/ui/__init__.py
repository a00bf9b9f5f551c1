"""What a person sees in a notebook."""

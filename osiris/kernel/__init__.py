"""The kernel: patches of the policy are drafted, proved, measured, applied if they pay, else rolled back."""

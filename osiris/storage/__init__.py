"""Where ideas, feedback, events and patches are kept: LanceDB behind a journal, and Redis."""

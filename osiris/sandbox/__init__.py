"""Runs code that nobody trusts: static checks, bubblewrap, seccomp. It can be read and audited alone.

There are two lines of defence. The static check (`static` and its parts, with the lists in `allowed`) refuses a file
before any of it is run. The bubblewrap sandbox (`bubblewrap`, `session`, `runner`) contains what the static check
missed. Each file says in its docstring what it keeps out and what it does not.

The rest uses these two. `policies` checks each answer of a sandboxed policy against the contracts of `osiris.policy`.
`laws` and `symbolic` look for numbers with which a policy breaks a limit. `checkers` runs ruff, mypy and pytest.

Nothing here imports the patch loop (`osiris.kernel`). Apart from the errors of `osiris.core` and the contracts of
`osiris.policy`, the folder needs only bubblewrap, libseccomp, psutil and CrossHair.
"""

"""Runs code that nobody trusts: static checks, bubblewrap, seccomp. It can be read and audited alone."""

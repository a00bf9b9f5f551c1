"""The code that patches may improve: small, pure, tested."""

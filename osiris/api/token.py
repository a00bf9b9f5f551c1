"""The bearer token of a workspace: made at the first call, readable by its owner alone."""

import contextlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from osiris.workspace import Workspace


def authorized(workspace: Workspace) -> Any:
    """The dependency of every route that refuses a request without the token of `workspace`."""
    token, bearer = api_token(workspace), HTTPBearer(auto_error=False)

    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        if given is None or not same(given.credentials, token):
            detail = f"expected the bearer token of this workspace; it is in {token_path(workspace)}"
            raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})

    return Depends(check)


def same(given: str, token: str) -> bool:
    """Whether the two are the same, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(given.encode(), token.encode())


def token_path(workspace: Workspace) -> Path:
    """Where the workspace keeps its token, readable by its owner alone."""
    return workspace.settings.data / "api-token"


def api_token(workspace: Workspace) -> str:
    """The workspace's token, made at the first call."""
    path = token_path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        with open(draft, "x", opener=_owner_only) as file:
            file.write(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all, and never over the token of another process
        draft.unlink()
    return path.read_text()


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

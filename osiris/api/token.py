"""The bearer token of a workspace: created at the first call, and readable only by its owner."""

import contextlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from osiris.core.errors import WorkspaceError
from osiris.workspace import Workspace


def require_token(workspace: Workspace) -> Any:
    """Return the dependency of every route that refuses requests without the token of `workspace`."""
    token = ensure_api_token(workspace)
    bearer = HTTPBearer(auto_error=False)

    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        if given is None or not is_same_token(given.credentials, token):
            received = "no bearer token" if given is None else "another one"
            detail = f"expected the bearer token of this workspace; got {received}; `osiris api` says which file has it"
            raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})

    return Depends(check)


def is_same_token(given: str, token: str) -> bool:
    """Whether the two are equal. The time does not depend on where they differ, so it reveals nothing of the token."""
    return hmac.compare_digest(given.encode(), token.encode())


def token_path(workspace: Workspace) -> Path:
    """Return the file of the workspace's token."""
    return workspace.settings.data / "api-token"


def ensure_api_token(workspace: Workspace) -> str:
    """Return the workspace's token, created at the first call; raises `WorkspaceError` for an unusable token file."""
    path = token_path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(path):
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        with open(temporary, "x", opener=_owner_only) as file:
            file.write(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # complete or not at all, and never over the token of another process
        temporary.unlink()
    return _read_token(path)


def _read_token(path: Path) -> str:
    try:
        token = path.read_bytes().strip()  # an editor adds a line end
        problem = "nothing" if not token else "characters that a header cannot have"
    except OSError as error:
        token = b""
        problem = f"{error.strerror}"
    if not token or any(not 0x21 <= byte <= 0x7E for byte in token):
        wanted = f"a token of visible ASCII characters in {path}"
        raise WorkspaceError(wanted, problem, "remove what is there; the next start makes a new token")
    return token.decode("ascii")


def _owner_only(path: str, flags: int) -> int:
    """Open a file that only its owner can read and write, for `open(opener=...)`."""
    return os.open(path, flags, 0o600)

"""The HTTP sidecar: `POST /feedback/phi3/`, `GET /advice`, what may be done to an idea, the models, `GET /health`.

What it covers: a bearer token, a Host and an Origin allow-list, a limit on bodies and on requests a second, no unknown
fields, no NaN, idempotent replays, one winner of two reviewers. What it does not: TLS and user accounts (a reviewer's
name is believed); it listens on loopback unless told otherwise.
"""

import time

from fastapi import Depends, FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from osiris.api.errors import COMMON_RESPONSES, add_error_handlers, refuse_unknown_parameters
from osiris.api.health import add_health_route
from osiris.api.ideas import add_idea_routes
from osiris.api.middleware import add_middleware
from osiris.api.models import add_model_routes
from osiris.api.token import ensure_api_token, require_token, token_path
from osiris.workspace import Workspace

__all__ = ["create_app", "ensure_api_token", "token_path"]


def create_app(workspace: Workspace) -> FastAPI:
    """The application over one workspace; its token is in `ensure_api_token(workspace)`."""
    app = FastAPI(
        title="Osiris",
        version="1.0",
        dependencies=[require_token(workspace), Depends(refuse_unknown_parameters)],
        responses=COMMON_RESPONSES,
        docs_url=None,  # pages that load scripts from elsewhere; the description itself is at /openapi.json
        redoc_url=None,
    )
    review = workspace.settings.review
    hosts = {"127.0.0.1", "localhost", "[::1]", review.host}
    add_error_handlers(app)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts))
    add_middleware(app, review, hosts, ensure_api_token(workspace))
    add_idea_routes(app, workspace)
    add_model_routes(app, workspace)
    add_health_route(app, workspace, time.monotonic())
    return app

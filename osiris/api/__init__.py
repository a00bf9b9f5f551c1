"""The HTTP API: `POST /feedback/phi3/`, `GET /advice`, undo and close of an idea, the models, `GET /health`.

It has a bearer token, allow-lists for Host and Origin, and limits on body sizes and on requests per second. It refuses
unknown fields and NaN. Replays are idempotent, and of two reviewers that decide at once only one succeeds. It has no
TLS and no user accounts: a reviewer's name is not verified. It listens on loopback unless `review.host` names another
address.
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
    """Return the application of one workspace. `ensure_api_token(workspace)` returns its token."""
    app = FastAPI(
        title="Osiris",
        version="1.0",
        dependencies=[require_token(workspace), Depends(refuse_unknown_parameters)],
        responses=COMMON_RESPONSES,
        docs_url=None,  # this page would load scripts from other hosts; the description is at /openapi.json
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

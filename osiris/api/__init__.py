"""The HTTP sidecar: `POST /feedback/phi3/`, `GET /advice`, what may be done to an idea, the models, `GET /health`.

What it covers: a bearer token, a Host and an Origin allow-list, a limit on bodies and on requests a second, no unknown
fields, no NaN, idempotent replays, one winner of two reviewers. What it does not: TLS and user accounts (a reviewer's
name is believed); it listens on loopback unless told otherwise.
"""

import time

from fastapi import Depends, FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from osiris.api.errors import PROBLEMS, answer_with_problems, known_parameters
from osiris.api.health import add_health
from osiris.api.ideas import add_ideas
from osiris.api.middleware import guard
from osiris.api.models import add_models
from osiris.api.token import api_token, authorized, token_path
from osiris.workspace import Workspace

__all__ = ["api_token", "create_app", "token_path"]


def create_app(workspace: Workspace) -> FastAPI:
    """The application over one workspace; its token is in `api_token(workspace)`."""
    app = FastAPI(
        title="Osiris",
        version="1.0",
        dependencies=[authorized(workspace), Depends(known_parameters)],
        responses=PROBLEMS,
        docs_url=None,  # pages that load scripts from elsewhere; the description itself is at /openapi.json
        redoc_url=None,
    )
    review = workspace.settings.review
    hosts = {"127.0.0.1", "localhost", "[::1]", review.host}
    answer_with_problems(app)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts))
    guard(app, review, hosts, api_token(workspace))
    add_ideas(app, workspace)
    add_models(app, workspace)
    add_health(app, workspace, time.monotonic())
    return app

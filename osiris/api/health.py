"""`GET /health`: the state of the API and of the models."""

import time
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from osiris.storage.tables import sql_time
from osiris.workspace import Workspace


class Health(BaseModel):
    """The uptime in seconds, the readiness of both models, and the mean Hermes score of the last 24 hours.

    A model is ready when it is built or downloaded, or when its server answers. Without scores the mean is null.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"uptime": 12.5, "phi_ok": True, "hermes_ok": True, "mean_hermes_score_last_24h": 0.61}
        }
    )

    uptime: float
    phi_ok: bool
    hermes_ok: bool
    mean_hermes_score_last_24h: float | None


class HealthWithAdapter(Health):
    """Health with the name of the newest adapter, or null without an adapter."""

    latest_adapter: str | None


def add_health_route(app: FastAPI, workspace: Workspace, started: float) -> None:
    """Add the route. `started` is the start of the API on the monotonic clock."""

    @app.get("/health", response_model=HealthWithAdapter | Health)
    def health(adapter_date: bool = False) -> dict[str, Any]:
        """Uptime and readiness of the models; with `adapter_date=true` also the name of the newest adapter."""
        return read_health(workspace, time.monotonic() - started, adapter_date)


def read_health(workspace: Workspace, uptime: float, adapter_date: bool) -> dict[str, Any]:
    """Return the answer of `GET /health`. `uptime` is in seconds."""
    since = sql_time(workspace.now - timedelta(hours=24))
    scores = workspace.advice.frame(f"as_of > {since} AND hermes_score IS NOT NULL", ["hermes_score"])["hermes_score"]
    health: dict[str, Any] = {
        "uptime": round(uptime, 3),
        "phi_ok": workspace.models.is_ready("drafter"),
        "hermes_ok": workspace.models.is_ready("judge"),
        "mean_hermes_score_last_24h": float(scores.mean()) if len(scores) else None,
    }
    return health | ({"latest_adapter": workspace.registry.newest(workspace.now)} if adapter_date else {})

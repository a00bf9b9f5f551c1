"""The models of a workspace, which answer in this process or on a server (`llm.backend`)."""

from osiris.config.settings import Settings
from osiris.llm.loader import Drafter, Judge
from osiris.llm.local_models import LocalModels
from osiris.llm.remote import RemoteDrafter, RemoteJudge, RemoteModels

AnyDrafter = Drafter | RemoteDrafter
AnyJudge = Judge | RemoteJudge
Models = LocalModels | RemoteModels


def open_models(settings: Settings) -> Models:
    """The models that the settings name. Nothing is loaded yet, and no server is contacted."""
    return RemoteModels(settings) if settings.llm.backend == "openai" else LocalModels(settings)

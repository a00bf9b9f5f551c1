"""The models of a workspace, wherever they answer: in this process or on a server (`llm.backend`)."""

from osiris.config.settings import Settings
from osiris.llm.loader import Drafter, Judge
from osiris.llm.local_models import ModelDesk
from osiris.llm.remote import RemoteDesk, RemoteDrafter, RemoteJudge

AnyDrafter = Drafter | RemoteDrafter
AnyJudge = Judge | RemoteJudge
Models = ModelDesk | RemoteDesk


def open_models(settings: Settings) -> Models:
    """The models that the settings name; nothing is loaded or asked yet."""
    return RemoteDesk(settings) if settings.llm.backend == "openai" else ModelDesk(settings)

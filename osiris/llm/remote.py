"""Models on a server that speaks OpenAI's protocol (vLLM and others), through its completions of plain text.

The chat format is that of the base's own tokenizer, here as in training, and code writes the ticker as it does for a
model in this process. An adapter is what the server calls a model: with vLLM a LoRA module of the adapter's name.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from osiris.config.settings import Settings
from osiris.core.errors import BadInput, NotFound, SourceUnavailable
from osiris.llm.completion import Completer
from osiris.llm.loader import BASE_ADAPTER, load_tokenizer
from osiris.llm.scores import Completion
from osiris.llm.starter import ModelKind

if TYPE_CHECKING:
    from openai import OpenAI
    from transformers import PreTrainedTokenizerBase

LIST_TIMEOUT_SECONDS, MAX_ERROR_CHARACTERS = 3, 500


@dataclass(frozen=True)
class ModelEndpoint:
    """A server and the name by which it knows a model."""

    client: "OpenAI"
    model: str
    parallel: int

    def complete(self, texts: list[str], options: list[dict[str, Any]]) -> list[Completion]:
        """What the model writes after each text, with its own options of the completions endpoint.

        Raises `NotFound` for a model that the server does not have, `SourceUnavailable` when it cannot be asked.
        """

        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(self._complete, texts, options))

    def _complete(self, text: str, options: dict[str, Any]) -> Completion:
        import openai

        try:
            answer = self.client.completions.create(model=self.model, prompt=text, **options)
            return _parse_completion(answer)
        except openai.NotFoundError as error:
            raise NotFound(
                f"a server that has {self.model}",
                self._describe_error(error),
                "load it there, or correct [llm] in osiris.toml",
            ) from error
        except openai.BadRequestError as error:
            raise BadInput(
                f"a server that can be asked for completions of {self.model}",
                self._describe_error(error),
                "use another one",
            ) from error
        except (openai.OpenAIError, ValueError, RecursionError) as error:  # not every answer is JSON of a sane depth
            raise SourceUnavailable(
                f"an answer of {self.model} from {self.client.base_url}",
                self._describe_error(error),
                "start the server, or correct [llm] in osiris.toml",
            ) from error

    def _describe_error(self, error: Exception) -> str:
        """An error in words, without the key, which a server may repeat."""
        return f"{type(error).__name__}: {error}".replace(self.client.api_key, "***")[:MAX_ERROR_CHARACTERS]


def _parse_completion(answer: Any) -> Completion:
    """The text of a completion; raises `ValueError` for whatever else a server may have answered."""
    choices = getattr(answer, "choices", None)
    text = getattr(choices[0], "text", None) if isinstance(choices, list) and choices else None
    if not isinstance(text, str):
        raise ValueError(f"no completion in {str(answer)[:MAX_ERROR_CHARACTERS]!r}")
    return Completion(text, getattr(choices[0], "finish_reason", None) == "length")


@dataclass(frozen=True)
class RemoteDrafter:
    """A model on a server that drafts ideas; what `Drafter` is for one in this process."""

    endpoint: ModelEndpoint
    tokenizer: "PreTrainedTokenizerBase"
    name: str
    adapter: str

    @contextmanager
    def completer(self, settings: Settings, seed: int) -> Iterator[Completer]:
        """Yield what writes on from texts, each draw with a seed of its own."""
        rng = np.random.default_rng(seed)
        common = {
            "max_tokens": settings.model.max_new_tokens,
            "temperature": settings.model.temperature,
            "top_p": settings.model.top_p,
        } | _special_token_options(self.tokenizer)

        def write(texts: list[str]) -> list[str]:
            seeds = rng.integers(2**31, size=len(texts)).tolist()
            return [one.text for one in self.endpoint.complete(texts, [common | {"seed": one} for one in seeds])]

        yield write


@dataclass(frozen=True)
class RemoteJudge:
    """A model on a server that scores ideas (Hermes)."""

    endpoint: ModelEndpoint
    tokenizer: "PreTrainedTokenizerBase"
    name: str

    def complete(self, texts: list[str], most: int) -> list[Completion]:
        """The likeliest `most` tokens after each text."""
        options = {"max_tokens": most, "temperature": 0} | _special_token_options(self.tokenizer)
        return self.endpoint.complete(texts, [options] * len(texts))

    @contextmanager
    def completer(self, settings: Settings, _seed: int) -> Iterator[Completer]:
        """Yield what writes on from texts, always the likeliest."""
        yield lambda texts: [one.text for one in self.complete(texts, settings.model.max_new_tokens)]


class RemoteModels:
    """The models of a server; what `ModelDesk` is for those in this process. Nothing is loaded but tokenizers."""

    def __init__(self, settings: Settings) -> None:
        """Remember the settings; nobody is asked yet."""
        self._settings = settings
        self._tokenizers: dict[ModelKind, PreTrainedTokenizerBase] = {}

    def is_ready(self, _kind: ModelKind) -> bool:
        """Whether the server says within `ANSWER_SECONDS` which models it has, or that it keeps no list of them."""
        import openai

        try:
            listed = self._client.with_options(timeout=LIST_TIMEOUT_SECONDS, max_retries=0).models.list()
        except openai.NotFoundError:
            return True
        except (openai.OpenAIError, ValueError, AttributeError, RecursionError):
            return False
        return isinstance(listed.data, list)

    def serve(self, adapter: Path | None) -> RemoteDrafter:
        """The drafter with this adapter folder, which the server must have; the plain base for `None`."""
        llm, base = self._settings.llm, self._settings.model.base
        model = llm.drafter or base
        if adapter is not None:
            model = llm.adapter.format(name=adapter.name, path=adapter)
        return RemoteDrafter(
            self._endpoint(model),
            self._tokenizer("drafter"),
            base,
            adapter.name if adapter is not None else BASE_ADAPTER,
        )

    @property
    def judge(self) -> RemoteJudge:
        """The judge."""
        name = self._settings.model.judge
        return RemoteJudge(self._endpoint(self._settings.llm.judge or name), self._tokenizer("judge"), name)

    def _endpoint(self, model: str) -> ModelEndpoint:
        return ModelEndpoint(self._client, model, self._settings.llm.parallel)

    @cached_property
    def _client(self) -> "OpenAI":
        from openai import OpenAI

        llm = self._settings.llm
        return OpenAI(base_url=llm.url, api_key=llm.key.get_secret_value(), timeout=llm.timeout_seconds)

    def _tokenizer(self, kind: ModelKind) -> "PreTrainedTokenizerBase":
        if kind not in self._tokenizers:
            model = self._settings.model
            name = model.base if kind == "drafter" else model.judge
            self._tokenizers[kind] = load_tokenizer(name, kind, self._settings)
        return self._tokenizers[kind]


def _special_token_options(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    """What keeps a server from putting special tokens before a text that already is in the chat format."""
    if tokenizer("a")["input_ids"] == tokenizer("a", add_special_tokens=False)["input_ids"]:
        return {}
    return {"extra_body": {"add_special_tokens": False}}

"""Models on a server that speaks OpenAI's protocol (vLLM, llama.cpp), through its completions of plain text.

As in training, the chat format is that of the base model's own tokenizer. As for a model in this process, code writes
the ticker. The server calls an adapter a model: with vLLM it is a LoRA module with the adapter's name. What a server
does beyond the protocol is found out at the first request (`server_abilities.py`).
"""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from osiris.config.settings import Settings
from osiris.core.errors import BadInput, NotFound, SourceUnavailable
from osiris.llm.chat import format_prompt
from osiris.llm.completion import Completer
from osiris.llm.loader import BASE_ADAPTER, load_tokenizer
from osiris.llm.scores import Completion, NumberOdds, served_number_odds
from osiris.llm.server_abilities import (
    REPLY_FORM,
    TOP_LOGPROBS,
    Constraint,
    find_constraint,
    first_token_odds,
)
from osiris.llm.starter_recipe import ModelKind

if TYPE_CHECKING:
    from openai import OpenAI
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

LIST_TIMEOUT_SECONDS = 3
MAX_ERROR_CHARACTERS = 500


@dataclass
class ServerAbilities:
    """What a server was found to do; shared by all models of a server, so that it is asked once.

    `constraint` is `auto` until it was found, then a parameter or `none`. `top_logprobs` are the likeliest tokens that
    can be asked for; 0 for none.
    """

    constraint: Constraint | Literal["auto", "none"]
    top_logprobs: int = TOP_LOGPROBS[0]


@dataclass(frozen=True)
class ModelEndpoint:
    """A server and the name by which it knows a model."""

    client: "OpenAI"
    model: str
    parallel: int
    abilities: ServerAbilities

    def complete(self, texts: list[str], options: list[dict[str, Any]]) -> list[Completion]:
        """What the model writes after each text; `options` are each text's parameters of the completions endpoint.

        Raises `NotFound` for a model that the server does not have, `BadInput` for a request that it refuses, and
        `SourceUnavailable` without a usable answer.
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
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise BadInput(
                f"a server that can be asked for completions of {self.model}",
                self._describe_error(error),
                "use another one",
            ) from error
        except (
            openai.OpenAIError,
            ValueError,
            RecursionError,
        ) as error:  # an answer may be no JSON, or nested too deeply
            raise SourceUnavailable(
                f"an answer of {self.model} from {self.client.base_url}",
                self._describe_error(error),
                "start the server, or correct [llm] in osiris.toml",
            ) from error

    def bind_reply(self, prompt: str, options: dict[str, Any]) -> dict[str, Any]:
        """The options that bind the answer to the form of a reply; none for a server that cannot be bound.

        The server is asked at the first call, by `prompt` with `options`.
        """
        abilities = self.abilities
        if abilities.constraint == "auto":
            found = find_constraint(lambda asked: self._complete(prompt, merge_options(options, asked)).text)
            abilities.constraint = found or "none"
        return {} if abilities.constraint == "none" else {"extra_body": REPLY_FORM.options(abilities.constraint)}

    def complete_with_odds(self, texts: list[str], options: dict[str, Any]) -> list[Completion]:
        """As `complete`, and each answer tells its likeliest first tokens, if the server can be asked for them."""
        for number in [n for n in TOP_LOGPROBS if n <= self.abilities.top_logprobs]:
            with suppress(BadInput):  # perhaps more tokens than this server lists
                found = self.complete(texts, [options | {"logprobs": number}] * len(texts))
                self.abilities.top_logprobs = number if all(one.first for one in found) else 0
                if not self.abilities.top_logprobs:
                    log.info("the server tells no probabilities: scores are what a judge writes")
                return found
        found = self.complete(texts, [options] * len(texts))
        self.abilities.top_logprobs = 0
        return found

    def _describe_error(self, error: Exception) -> str:
        """The text of an error, without the key: a server may repeat it."""
        return f"{type(error).__name__}: {error}".replace(self.client.api_key, "***")[:MAX_ERROR_CHARACTERS]


def _parse_completion(answer: Any) -> Completion:
    """The text of a completion; raises `ValueError` for any other answer."""
    choices = getattr(answer, "choices", None)
    first = choices[0] if isinstance(choices, list) and choices else None
    text = getattr(first, "text", None)
    if not isinstance(text, str):
        raise ValueError(f"no completion in {str(answer)[:MAX_ERROR_CHARACTERS]!r}")
    return Completion(text, getattr(first, "finish_reason", None) == "length", first_token_odds(first))


@dataclass(frozen=True)
class RemoteDrafter:
    """A model on a server that drafts ideas; `Drafter` is the same for a model in this process."""

    endpoint: ModelEndpoint
    tokenizer: "PreTrainedTokenizerBase"
    name: str
    adapter: str

    @contextmanager
    def completer(self, settings: Settings, seed: int) -> Iterator[Completer]:
        """Yield a function that continues texts, each with a seed of its own.

        With one seed for all, equal prompts would get equal drafts.
        """
        rng = np.random.default_rng(seed)
        common = {
            "max_tokens": settings.model.max_new_tokens,
            "temperature": settings.model.temperature,
            "top_p": settings.model.top_p,
        } | _special_token_options(self.tokenizer)

        if settings.model.constrained:
            common = merge_options(common, self.endpoint.bind_reply(format_prompt(self.tokenizer, "ok"), common))

        def complete(texts: list[str]) -> list[str]:
            seeds = rng.integers(2**31, size=len(texts)).tolist()
            return [one.text for one in self.endpoint.complete(texts, [common | {"seed": one} for one in seeds])]

        yield complete


@dataclass(frozen=True)
class RemoteJudge:
    """A model on a server that scores ideas (Hermes)."""

    endpoint: ModelEndpoint
    tokenizer: "PreTrainedTokenizerBase"
    name: str

    def complete(self, texts: list[str], max_tokens: int) -> list[Completion]:
        """The likeliest tokens after each text, at most `max_tokens`."""
        return self.endpoint.complete(texts, [self._options(max_tokens)] * len(texts))

    def judge(self, texts: list[str], max_tokens: int) -> list[tuple[Completion, NumberOdds | None]]:
        """What the judge writes after each text, and how likely each number is there, where the server tells it."""

        def odds(text: str, written: Completion) -> NumberOdds | None:
            if written.first is None:
                return None
            return served_number_odds(written, lambda more: self._first_tokens(text + more))

        answers = self.endpoint.complete_with_odds(texts, self._options(max_tokens))
        with ThreadPoolExecutor(self.endpoint.parallel) as pool:
            return list(zip(answers, pool.map(odds, texts, answers), strict=True))

    @contextmanager
    def completer(self, settings: Settings, _seed: int) -> Iterator[Completer]:
        """Yield a function that continues texts, always with the likeliest tokens."""
        yield lambda texts: [one.text for one in self.complete(texts, settings.model.max_new_tokens)]

    def _first_tokens(self, text: str) -> Mapping[str, float]:
        (answer,) = self.endpoint.complete_with_odds([text], self._options(1))
        return answer.first or {}

    def _options(self, max_tokens: int) -> dict[str, Any]:
        return {"max_tokens": max_tokens, "temperature": 0} | _special_token_options(self.tokenizer)


class RemoteModels:
    """The models of a server; `LocalModels` is the same for this process. Only tokenizers are loaded."""

    def __init__(self, settings: Settings) -> None:
        """Remember the settings; the server is not contacted yet."""
        self._settings = settings
        self._tokenizers: dict[ModelKind, PreTrainedTokenizerBase] = {}
        self._abilities = ServerAbilities(settings.llm.constraint)

    def is_ready(self, _kind: ModelKind) -> bool:
        """Whether the server answers within `LIST_TIMEOUT_SECONDS`: with its models, or that it has no list of them."""
        import openai

        try:
            listed = self._client.with_options(timeout=LIST_TIMEOUT_SECONDS, max_retries=0).models.list()
        except openai.NotFoundError:
            return True
        except (openai.OpenAIError, ValueError, AttributeError, RecursionError):
            return False
        return isinstance(listed.data, list)

    def serve(self, adapter: Path | None) -> RemoteDrafter:
        """The drafter with this adapter folder, which the server must have loaded; the plain base for `None`."""
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
        return ModelEndpoint(self._client, model, self._settings.llm.parallel, self._abilities)

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


def merge_options(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both sets of options; their parameters outside the protocol are put together."""
    extra = one.get("extra_body", {}) | other.get("extra_body", {})
    return one | other | ({"extra_body": extra} if extra else {})


def _special_token_options(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    """Options that stop a server from adding special tokens to a text that is already in the chat format.

    They are sent only if the tokenizer would add any: they are no part of OpenAI's protocol, and a server may refuse
    them.
    """
    if tokenizer("a")["input_ids"] == tokenizer("a", add_special_tokens=False)["input_ids"]:
        return {}
    return {"extra_body": {"add_special_tokens": False}}

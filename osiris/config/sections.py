"""The tables of `osiris.toml`, with their defaults."""

from pathlib import Path
from string import Formatter
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, field_validator


class Section(BaseModel):
    """A table of `osiris.toml`; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClockSettings(Section):
    """What the workspace takes for now."""

    as_of: AwareDatetime | None = Field(None, description="a moment of history to stand still at; none: the system's")


class ModelSettings(Section):
    """Language models. `starter` is built locally; any other value goes to `from_pretrained`."""

    base: str = "starter"
    judge: str = "starter"
    quantize: Literal["auto", "4bit", "none"] = "auto"
    temperature: float = Field(0.8, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(96, ge=16, le=1024)
    batch_size: int = Field(128, ge=1)
    constrained: bool = Field(True, description="replies are drawn within their schema, not only checked against it")
    retries: int = Field(2, ge=0, description="further attempts for a reply that is not valid")
    seed: int = 0
    cache: Path = Path("~/.cache/osiris")


class LlmSettings(Section):
    """What answers: this process, or a server that speaks OpenAI's protocol and has the models and adapters loaded."""

    backend: Literal["local", "openai"] = "local"
    url: str = Field("http://127.0.0.1:8000/v1", description="of the server, up to the version")
    key: SecretStr = Field(SecretStr("none"), description="best given as OSIRIS_LLM__KEY")
    drafter: str = Field("", description="the server's name for model.base; none: the same name")
    judge: str = Field("", description="the server's name for model.judge; none: the same name")
    adapter: str = Field("{name}", description="the server's name for an adapter, of its {name} and {path}")
    parallel: int = Field(32, ge=1, description="requests under way at once")
    timeout_seconds: float = Field(120, gt=0, description="of one request")

    @field_validator("adapter")
    @classmethod
    def _of_name_and_path(cls, value: str) -> str:
        parts = [part[1:] for part in Formatter().parse(value)]  # ValueError for a brace too many
        if any(part[0] not in (None, "name", "path") or any(part[1:]) for part in parts):
            raise ValueError("only {name} and {path} are replaced")
        return value


class AdviseSettings(Section):
    """Drafting."""

    tickers: list[str] = ["AAPL", "GOOG", "IBM", "MSFT"]
    candidates: int = Field(6, ge=1, le=64, description="replies drawn per prompt")


class ReviewSettings(Section):
    """The review desk and its API."""

    deadline_hours: float = Field(24, gt=0, description="an idea nobody decided on by then expires")
    host: str = "127.0.0.1"
    port: int = Field(8710, ge=0, le=65535, description="0 picks a free port")
    origins: list[str] = Field([], description="pages elsewhere that may use the API, e.g. https://desk.example")
    max_body_bytes: int = Field(65536, ge=1024)
    max_requests_per_second: int = Field(100, ge=1, description="of one client of the API")


class OutcomesSettings(Section):
    """Settling ideas against prices."""

    min_age_hours: float = Field(24, ge=0, description="elapsed hours after acceptance before an idea is looked at")
    breakeven_r: float = Field(0.05, ge=0, description="closed within this many R of the entry counts as breakeven")
    max_holding_days: int = Field(0, ge=0, le=36500, description="calendar days until an idea expires; 0 is off")
    tolerance: float = Field(0.02, gt=0, description="largest relative difference of two sources' closes")
    delisted_after_days: int = Field(
        7, ge=0, le=36500, description="days without a bar after which a price given by hand closes a trade"
    )


class PricesSettings(Section):
    """Price sources and exchange calendars."""

    source: Literal["yahoo", "local"] = Field("yahoo", description="yahoo falls back to the local store")
    calendars: dict[str, str] = Field({}, description='exchange calendar by ticker, such as "VOD.L" = "XLON"')
    calendar: str = "XNYS"
    yahoo_url: str = ""
    intraday: bool = Field(True, description="ask Yahoo for hourly bars, and for finer ones where a day is ambiguous")

    @field_validator("calendars", mode="before")
    @classmethod
    def _of_tickers(cls, value: object) -> object:
        for ticker, calendar in value.items() if isinstance(value, dict) else ():
            if isinstance(calendar, dict):  # TOML takes a dot outside of quotes for a table
                inner, name = next(iter(calendar.items()), ("L", "XLON"))
                raise ValueError(f'write a ticker with a dot in quotes: "{ticker}.{inner}" = "{name}"')
            if ticker != ticker.upper().strip():
                raise ValueError(f'write a ticker in capitals: "{ticker.upper().strip()}" = "{calendar}"')
        return value


class RedisSettings(Section):
    """Events; an empty url starts an embedded real server in the workspace."""

    url: str = ""


class TrainingSettings(Section):
    """Nightly training; recipes are YAML files in TRL's argument names."""

    sft_recipe: str = "qlora"
    dpo_recipe: str = "dpo"
    min_examples: int = Field(8, ge=1)
    min_pairs: int = Field(8, ge=1)
    max_ratio_gap: float = Field(0.2, ge=0, description="difference of log reward-to-risk in a pair, at most")
    min_valid_share: float = Field(
        0.98, ge=0, le=1, description="never served below this; of the share before, where replies are bound"
    )
    max_chosen_fall: float = Field(10, gt=0, description="nats; where logps/chosen fell more, never served")
    max_partner_share: float = Field(0, ge=0, le=1, description="nearest-prompt pairs, as a share of the others")


class GateSettings(Section):
    """When a new adapter may be served."""

    serve: Literal["better", "newest"] = "better"
    alpha: float = Field(0.05, gt=0, lt=1, description="one-sided, of all looks at the same held-out days together")
    min_trades: int = Field(30, ge=2)
    holdout_days: int = Field(30, ge=1, description="calendar days before the night kept out of training")
    embargo_days: int = Field(15, ge=0, description="calendar days between training and held-out prompts")
    trial_days: int = Field(
        180, ge=1, description="held-out days after which a challenger that is not better is refused"
    )
    candidates: int = Field(2, ge=1)


class RewardsSettings(Section):
    """The reward of trades, `loop/rewards.py`: weights of its components, and how many trades it takes."""

    w_profit: float = Field(1.0, ge=0, allow_inf_nan=False)
    w_risk: float = Field(0.5, ge=0, allow_inf_nan=False)
    w_novelty: float = Field(0.1, ge=0, allow_inf_nan=False)
    w_latency: float = Field(0.1, ge=0, allow_inf_nan=False)
    min_trades: int = Field(30, ge=2, description="fewer settled trades have no reward yet")
    latency_scale_seconds: float = Field(10, gt=0, description="the latency that costs half of w_latency")


class KernelSettings(Section):
    """Patches of the policy."""

    drafter: Literal["mutation", "model", "none"] = Field("mutation", description="what drafts when nobody submits")
    key: SecretStr = Field(
        SecretStr(""), description="patches in the queue are to be signed with it; as OSIRIS_KERNEL__KEY"
    )
    max_lines: int = Field(60, ge=1, description="changed lines of a patch, at most")
    max_characters: int = Field(20_000, ge=100, le=100_000)
    symbolic_seconds: float = Field(3, gt=0, le=60, description="of CrossHair for each law")
    min_hermes: int = Field(5, ge=0, le=10, description="what the judge has to give a patch; 0: whatever it says")
    measure_days: int = Field(365, ge=60, description="calendar days of history on which a patch is measured")
    trial_days: int = Field(
        90,
        ge=0,
        description="calendar days after it on which a patch has to be better too, before it goes live; 0: none",
    )
    trial_level: float = Field(0.05, gt=0, lt=1, description="one-sided, of all trials that share days")
    level: float = Field(0.05, gt=0, lt=1, description="one-sided, of all patches measured on much the same days")
    min_gain: float = Field(0.02, ge=0, description="of the reward, below which a patch is not worth it")
    min_hours_between: float = Field(24, ge=0, description="between two patches that go live")
    draft_hours: float = Field(168, ge=0, description="between two patches of its own drafting that are measured")
    observe_days: int = Field(
        90, ge=1, description="trades closed in so many days have a say in a rollback, and the last rewards.min_trades"
    )
    quiet_days: int = Field(60, ge=1, description="of letting too little through, after which a patch is rolled back")
    max_loss: float = Field(
        0.05, gt=0, lt=1, description="of equity that a patch may lose since it went live, whatever the count"
    )


class PrefectSettings(Section):
    """Prefect; an empty api_url starts a temporary server."""

    api_url: str = ""
    startup_timeout_seconds: int = Field(180, ge=20)
    nightly_cron: str = "0 2 * * *"
    timezone: str = Field("America/New_York", description="of all schedules")


class MlflowSettings(Section):
    """MLflow; an empty uri is SQLite in `mlruns/`."""

    tracking_uri: str = ""

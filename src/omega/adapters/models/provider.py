"""Which model may be asked, from environment variables, and how its provider is spoken to.

A key in the environment is not consent to send anything: a model counts as configured when it is *named* (`OMEGA_MODEL`). The first
of these whose variables are set is used:

    variables                                   provider
    OMEGA_MODEL_URL, optionally OMEGA_MODEL_KEY any endpoint that speaks OpenAI's chat completions, such as one on this machine
    ANTHROPIC_API_KEY (ANTHROPIC_BASE_URL)      Anthropic, messages
    OPENAI_API_KEY (OPENAI_BASE_URL)            OpenAI, chat completions
    MISTRAL_API_KEY                             Mistral, chat completions
    OPENROUTER_API_KEY                          OpenRouter, chat completions

`OMEGA_MODEL=mistral:NAME` chooses among several keys. Keys are read for each call and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

MODEL: Final = "OMEGA_MODEL"
URL: Final = "OMEGA_MODEL_URL"
KEY: Final = "OMEGA_MODEL_KEY"
ANTHROPIC_VERSION: Final = "2023-06-01"
"""The version header that Anthropic's messages interface asks for."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    key: str
    base_url: str
    base_variable: str = ""
    limit_field: str = "max_tokens"


_KNOWN: Final = (
    _Known("anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com", "ANTHROPIC_BASE_URL"),
    _Known("openai", "OPENAI_API_KEY", "https://api.openai.com/v1", "OPENAI_BASE_URL", "max_completion_tokens"),
    _Known("mistral", "MISTRAL_API_KEY", "https://api.mistral.ai/v1"),
    _Known("openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1"),
)


@dataclass(frozen=True, slots=True)
class Provider:
    """One model that can be asked: provider and model name, base URL, key (may be empty), name of the field that limits the answer, and the
    interface that it `speaks` where its name does not say so."""

    name: str
    model: str
    base_url: str
    key: str = field(repr=False)
    limit_field: str = "max_tokens"
    speaks: str = ""

    @property
    def label(self) -> str:
        """What reports call the model: `provider:model`."""
        return f"{self.name}:{self.model}"

    @property
    def interface(self) -> str:
        """Which interface it speaks: `anthropic` or `openai`."""
        return "anthropic" if self.speaks == "anthropic" or (not self.speaks and self.name == "anthropic") else "openai"


@dataclass(frozen=True, slots=True)
class Missing:
    """Why no model is configured, in words that say what to set."""

    reason: str


def configured(variables: Mapping[str, str]) -> Provider | Missing:
    """The model that `variables` configure, or why there is none. Never guesses the name of a model."""
    wanted = variables.get(MODEL, "").strip()
    if url := variables.get(URL, "").strip():
        return (
            checked(Provider("local", wanted, url.rstrip("/"), variables.get(KEY, "")))
            if wanted
            else Missing(f"{URL} is set, {MODEL} is not")
        )
    prefix, _, rest = wanted.partition(":")
    known = [item for item in _KNOWN if variables.get(item.key)]
    if any(item.name == prefix for item in _KNOWN):
        wanted, known = rest, [item for item in known if item.name == prefix]
        if not known:
            return Missing(f"{MODEL} names {prefix}, but its key is not set")
    if not known:
        return Missing("no provider's key and no model endpoint is set")
    if not wanted:
        return Missing(f"{known[0].key} is set, but {MODEL} names no model")
    chosen = known[0]
    base_url = variables.get(chosen.base_variable, "") if chosen.base_variable else ""
    return checked(Provider(chosen.name, wanted, (base_url or chosen.base_url).rstrip("/"), variables[chosen.key], chosen.limit_field))


def checked(provider: Provider) -> Provider | Missing:
    """Refuses an address to which a key or a prompt would travel in the clear."""
    try:
        url = urlsplit(provider.base_url)
        host, _ = url.hostname, url.port
    except ValueError:
        return Missing("the model's URL does not parse")
    if url.scheme not in ("http", "https") or not host:
        return Missing("the model's URL must begin with https:// or http:// and name a host")
    if url.scheme == "http" and provider.key and host not in _LOOPBACK:
        return Missing("the model's key is sent over https, or to this machine, only")
    return provider

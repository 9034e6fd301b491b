"""How a control plane is set up."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Settings(BaseModel):
    """Everything `msk serve` is told. `data` holds state, certificates and the brokers' logs."""

    model_config = ConfigDict(frozen=True)

    data: Path
    credentials: Path | None = None  # beside those of the environment
    account: str = Field(default="123456789012", pattern=r"^\d{12}$")  # of the environment's credentials
    strict: bool = (
        False  # --strict-msk: refuse what MSK refuses though nothing is wrong with it, e.g. updates without a change
    )
    metrics_namespace: str = Field(default="Replicator", pattern=r"^[0-9A-Za-z._\-/#:]{1,255}$")
    max_body_bytes: int = (
        1 << 20
    )  # the largest bodies are server.properties and policies, 20 KiB; API Gateway allows 10 MB
    body_timeout_s: float = 30.0

    @field_validator("metrics_namespace")
    @classmethod
    def _not_reserved(cls, namespace: str) -> str:
        if namespace.lower().startswith("aws/"):
            raise ValueError("namespaces that begin with AWS/ are reserved by CloudWatch")
        return namespace

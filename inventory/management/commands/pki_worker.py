"""`manage.py pki_worker`: the one process that may call certificate authorities."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from inventory.choices import JobQueue


class Command(BaseCommand):
    help = "Run the PKI worker: issuance and revocation at the CAs. Needs BFCERTS_PROCESS=pki and the credentials."

    def handle(self, *args: Any, **options: Any) -> None:
        from inventory.jobs import clocks, cluster
        from inventory.services import issuance

        if settings.CONFIGURATION.process != "pki":
            raise CommandError("The PKI worker runs with BFCERTS_PROCESS=pki and its own secrets; see the README.")
        if os.getpgrp() != os.getpid():
            os.setpgrp()
        if settings.CONFIGURATION.lost_answers_need_a_person:
            self.stderr.write(
                "BFCERTS_AWS_AUDIT_REPORT_BUCKET is not set: when an answer of AWS Private CA is lost, its job waits "
                "for a person to look into the CA's audit report, and ends after a day. Set it to have that done here."
            )
        try:
            issuance.publish_authorities(timezone.now())
            self.stdout.write("The PKI worker has published its authorities and takes jobs; trouble is said here.")
            self.stdout.flush()
            cluster.run(JobQueue.PKI)
        except issuance.AuthorityNotUsableError as error:
            raise CommandError(str(error)) from None
        except (cluster.QueueUnavailableError, clocks.WrongClockError) as error:
            raise CommandError(str(error)) from None
        except cluster.ClusterHungError as error:
            raise CommandError(f"The PKI worker stopped itself: {error}. Start it again.") from None

"""`manage.py worker`: the general worker, which handles evidence, runs jobs and keeps the recurring duties."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inventory.choices import JobQueue


class Command(BaseCommand):
    help = "Run the general worker: evidence, jobs, recurring duties. Needs no CA credentials and must have none."

    def handle(self, *args: Any, **options: Any) -> None:
        from inventory.jobs import clocks, cluster

        if settings.CONFIGURATION.process == "pki":
            raise CommandError("This is the PKI process's environment; run `manage.py pki_worker` here.")
        if os.getpgrp() != os.getpid():
            os.setpgrp()
        processes = settings.CONFIGURATION.worker_processes
        self.stdout.write(f"The general worker runs its duties in {processes} processes; what goes wrong is said here.")
        self.stdout.flush()
        try:
            cluster.run(JobQueue.GENERAL)
        except (cluster.QueueUnavailableError, clocks.WrongClockError) as error:
            raise CommandError(str(error)) from None
        except cluster.ClusterHungError as error:
            raise CommandError(f"The worker stopped itself: {error}. Start it again.") from None

"""What a listener failed to take in of the end of a job; and jobs that say themselves that a plan waits for them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0016_identity_events")]

    operations = [
        migrations.CreateModel(
            name="UntoldJobEnd",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("listener", models.CharField(max_length=40)),
                ("failed_at", models.DateTimeField(help_text="For the first time.")),
                ("tries", models.PositiveIntegerField(default=1)),
                ("next_run_at", models.DateTimeField()),
                ("last_error", models.TextField()),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="untold_ends",
                        to="inventory.certificatejob",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["next_run_at"], name="untold_job_end_due")],
                "constraints": [models.UniqueConstraint(fields=("listener", "job"), name="job_end_untold_once")],
            },
        ),
        migrations.RunSQL(
            "UPDATE inventory_certificatejob SET parameters = parameters || '{\"in_a_plan\": true}'::jsonb "
            "WHERE state IN ('queued', 'running', 'waiting') "
            "AND id IN (SELECT job_id FROM inventory_plantarget WHERE outcome = 'started')",
            migrations.RunSQL.noop,
        ),
    ]

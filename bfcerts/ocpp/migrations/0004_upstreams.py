"""What upstreams did is a kind of evidence, too."""

from django.db import migrations, models

KINDS = (
    "connected",
    "connection_refused",
    "disconnected",
    "booted",
    "csr_received",
    "security_event",
    "log_status",
    "command_answered",
    "protocol_violation",
    "upstream",
)


class Migration(migrations.Migration):
    dependencies = [("ocpp", "0003_commands_of_two_versions")]

    operations = [
        migrations.AlterField(
            model_name="inboxmessage",
            name="kind",
            field=models.CharField(choices=[(kind, kind) for kind in KINDS], max_length=30),
        )
    ]

"""A session says which upstream it is relayed to, and how that connection stands."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ocpp", "0004_upstreams")]

    operations = [
        migrations.AddField(
            model_name="stationsession",
            name="upstream",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="Name of the CSMS that it is relayed to; empty for none.",
                max_length=60,
            ),
        ),
        migrations.AddField(
            model_name="stationsession",
            name="upstream_state",
            field=models.CharField(
                blank=True,
                choices=[("connecting", "Connecting"), ("connected", "Connected"), ("away", "Away")],
                db_default="",
                help_text="How the connection to it stands.",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="stationsession",
            name="upstream_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="stationsession",
            name="upstream_detail",
            field=models.CharField(blank=True, db_default="", help_text="Why it is away.", max_length=300),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0012_station_log_guards")]

    operations = [
        migrations.AddField(
            model_name=model,
            name="protocol_variant",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "As the standard says"),
                    ("ocpp1.6-legacy-trigger", "OCPP 1.6 without ExtendedTriggerMessage"),
                ],
                default="",
                help_text="Where its stations do not speak as the standard of their OCPP version says.",
                max_length=40,
            ),
        )
        for model in ("chargerfamily", "historicalchargerfamily")
    ]

"""Identifiers that differ by capitals alone are found without reading the whole inventory; the model is called identity."""

import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0021_keeps_several_roots"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="historicalmanagedidentity",
            options={
                "get_latest_by": ("history_date", "history_id"),
                "ordering": ("-history_date", "-history_id"),
                "verbose_name": "historical identity",
                "verbose_name_plural": "historical identities",
            },
        ),
        migrations.AlterModelOptions(
            name="managedidentity",
            options={
                "permissions": [
                    ("command_managedidentity", "Can send commands to a station"),
                    ("cutover_managedidentity", "Can cut a station over to Profile 3"),
                ],
                "verbose_name": "identity",
                "verbose_name_plural": "identities",
            },
        ),
        migrations.AddIndex(
            model_name="managedidentity",
            index=models.Index(
                django.db.models.functions.text.Upper("authoritative_identifier"), name="identity_by_capital_id"
            ),
        ),
    ]

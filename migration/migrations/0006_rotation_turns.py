"""The queue of a bulk rotation, and the permission to approve a family's key path."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0010_plan_guards"),
        ("migration", "0005_rotation_guards"),
    ]
    operations = [
        migrations.AlterModelOptions(
            name="keyrotation",
            options={"permissions": [("approve_keyrotation", "Can approve how a family takes new AuthorizationKeys")]},
        ),
        migrations.CreateModel(
            name="RotationTurn",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("site", models.CharField(blank=True, max_length=120)),
                ("region", models.CharField(blank=True, max_length=60)),
                (
                    "give_up_at",
                    models.DateTimeField(help_text="Not connected until then, it is left as it is."),
                ),
                (
                    "family",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="inventory.chargerfamily"
                    ),
                ),
                (
                    "identity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="inventory.managedidentity"
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rotation_turns",
                        to="inventory.plan",
                    ),
                ),
                (
                    "target",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rotation_turn",
                        to="inventory.plantarget",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["plan", "id"], name="turn_by_plan"),
                    models.Index(fields=["give_up_at"], name="turn_by_end"),
                ],
            },
        ),
    ]

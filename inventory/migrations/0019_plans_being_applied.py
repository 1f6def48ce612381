"""Plans that are compared with how things stand now before they are applied, a batch at a time, and why one was refused."""

import django.db.models.deletion
from django.db import migrations, models

from inventory.choices import PLAN_TRANSITIONS


def _transition_list() -> str:
    pairs = sorted((source, target) for source, targets in PLAN_TRANSITIONS.items() for target in targets)
    return ", ".join(f"('{source}', '{target}')" for source, target in pairs)


PLAN_GUARD = f"""
CREATE OR REPLACE FUNCTION inventory_guard_plan() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'plan % is never removed', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'preparing' OR NEW.digest <> '' THEN
            RAISE EXCEPTION 'a plan begins being prepared' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({_transition_list()}) THEN
        RAISE EXCEPTION 'plan %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.kind, NEW.parameters) IS DISTINCT FROM (OLD.kind, OLD.parameters)
            OR (OLD.state <> 'preparing'
                AND (NEW.digest, NEW.candidates, NEW.included) IS DISTINCT FROM
                    (OLD.digest, OLD.candidates, OLD.included)) THEN
        RAISE EXCEPTION 'plan %: what was planned never changes', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0018_upstream_notices"),
    ]

    operations = [
        migrations.RunSQL(PLAN_GUARD, migrations.RunSQL.noop),
        migrations.RemoveConstraint(
            model_name="plan",
            name="complete_plan_has_digest",
        ),
        migrations.AddField(
            model_name="historicalplan",
            name="refusal",
            field=models.JSONField(
                default=dict, help_text="Why it was refused when it was last applied, with what changed."
            ),
        ),
        migrations.AddField(
            model_name="plan",
            name="check_cursor",
            field=models.BigIntegerField(default=0, help_text="The last identity that was compared while applying."),
        ),
        migrations.AddField(
            model_name="plan",
            name="checked",
            field=models.PositiveIntegerField(default=0, help_text="How many were compared when it was last applied."),
        ),
        migrations.AddField(
            model_name="plan",
            name="difference",
            field=models.JSONField(default=dict, help_text="What was found to have changed, while applying."),
        ),
        migrations.AddField(
            model_name="plan",
            name="refusal",
            field=models.JSONField(
                default=dict, help_text="Why it was refused when it was last applied, with what changed."
            ),
        ),
        migrations.AlterField(
            model_name="historicalplan",
            name="state",
            field=models.CharField(
                choices=[
                    ("preparing", "Being prepared"),
                    ("planned", "Planned"),
                    ("applying", "Being applied"),
                    ("applied", "Applied"),
                    ("expired", "Expired"),
                    ("cancelled", "Cancelled"),
                ],
                default="preparing",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="plan",
            name="state",
            field=models.CharField(
                choices=[
                    ("preparing", "Being prepared"),
                    ("planned", "Planned"),
                    ("applying", "Being applied"),
                    ("applied", "Applied"),
                    ("expired", "Expired"),
                    ("cancelled", "Cancelled"),
                ],
                default="preparing",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="plan",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["planned", "applying", "applied"]), _negated=True),
                    models.Q(models.Q(("digest", ""), _negated=True), ("prepared_at__isnull", False)),
                    _connector="OR",
                ),
                name="complete_plan_has_digest",
            ),
        ),
        migrations.AddConstraint(
            model_name="plan",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "applying"), _negated=True),
                    models.Q(("applied_by", ""), _negated=True),
                    _connector="OR",
                ),
                name="plan_being_applied_names_who",
            ),
        ),
        migrations.AddIndex(
            model_name="plantarget",
            index=models.Index(fields=["plan", "id"], name="target_of_plan"),
        ),
        migrations.AlterField(
            model_name="plantarget",
            name="plan",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="targets",
                to="inventory.plan",
            ),
        ),
    ]

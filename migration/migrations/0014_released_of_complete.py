"""A complete rollout runs again for the chargers that were released since."""

from django.db import migrations, models

from migration.states import ROLLOUT_TRANSITIONS

_PAIRS = ", ".join(
    f"('{source}', '{target}')"
    for source, target in sorted(
        (str(source), str(target)) for source, targets in ROLLOUT_TRANSITIONS.items() for target in targets
    )
)
ROLLOUT_GUARD = f"""
CREATE OR REPLACE FUNCTION migration_guard_rollout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'migration rollout % is never removed; stop it', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({_PAIRS}) THEN
        RAISE EXCEPTION 'migration rollout %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'complete' AND OLD.state <> 'complete' AND EXISTS (
            SELECT 1 FROM migration_wave w WHERE w.rollout_id = NEW.id AND w.state <> 'passed') THEN
        RAISE EXCEPTION 'migration rollout %: not every wave has passed', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""
_ENDED = "When it ended last; a charger that is released later has it run again."


class Migration(migrations.Migration):
    dependencies = [("migration", "0013_gate_at_the_cut_over")]
    operations = [
        # Back to what it was is not needed: the guard before it refuses one transition more, and nothing else differs.
        migrations.RunSQL(ROLLOUT_GUARD, migrations.RunSQL.noop),
        *(
            migrations.AlterField(
                model_name=model,
                name="ended_at",
                field=models.DateTimeField(blank=True, help_text=_ENDED, null=True),
            )
            for model in ("migrationrollout", "historicalmigrationrollout")
        ),
    ]

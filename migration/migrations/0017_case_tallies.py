"""How many chargers of a wave stand how, counted by the database as their cases move."""

import django.db.models.deletion
from django.db import migrations, models

FAILED = "failed_at IS NOT NULL OR (state = 'quarantine' AND reason_code <> 'breaker_open')"
TALLY = f"""
CREATE FUNCTION migration_tally_new_cases() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO migration_casetally (wave_id, state, failed, number)
    SELECT wave_id, state, {FAILED}, count(*) FROM now_stored WHERE wave_id IS NOT NULL GROUP BY 1, 2, 3;
    RETURN NULL;
END $$;
CREATE FUNCTION migration_tally_moved_cases() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO migration_casetally (wave_id, state, failed, number)
    SELECT wave_id, state, failed, sum(number) FROM (
        SELECT wave_id, state, {FAILED} AS failed, -1 AS number FROM formerly
        UNION ALL SELECT wave_id, state, {FAILED}, 1 FROM now_stored
    ) AS moved WHERE wave_id IS NOT NULL GROUP BY 1, 2, 3 HAVING sum(number) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_new_cases AFTER INSERT ON migration_migrationcase
    REFERENCING NEW TABLE AS now_stored FOR EACH STATEMENT EXECUTE FUNCTION migration_tally_new_cases();
CREATE TRIGGER tally_moved_cases AFTER UPDATE ON migration_migrationcase
    REFERENCING OLD TABLE AS formerly NEW TABLE AS now_stored
    FOR EACH STATEMENT EXECUTE FUNCTION migration_tally_moved_cases();
INSERT INTO migration_casetally (wave_id, state, failed, number)
SELECT wave_id, state, {FAILED}, count(*) FROM migration_migrationcase WHERE wave_id IS NOT NULL GROUP BY 1, 2, 3;
"""
NO_TALLY = """
DROP TRIGGER tally_new_cases ON migration_migrationcase;
DROP TRIGGER tally_moved_cases ON migration_migrationcase;
DROP FUNCTION migration_tally_new_cases();
DROP FUNCTION migration_tally_moved_cases();
"""


class Migration(migrations.Migration):
    dependencies = [("migration", "0016_keys_since_2000")]
    operations = [
        migrations.CreateModel(
            name="CaseTally",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("state", models.CharField(max_length=20)),
                (
                    "failed",
                    models.BooleanField(help_text="Its last try failed, or a person has quarantined it."),
                ),
                ("number", models.IntegerField()),
                (
                    "wave",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="tallies",
                        to="migration.wave",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(TALLY, NO_TALLY),
        migrations.RemoveIndex(model_name="migrationcase", name="case_failed"),
        migrations.AddIndex(
            model_name="migrationcase",
            index=models.Index(
                fields=["wave", "family", "site"],
                condition=models.Q(failed_at__isnull=False)
                | (models.Q(state="quarantine") & ~models.Q(reason_code="breaker_open")),
                name="case_failed",
            ),
        ),
    ]

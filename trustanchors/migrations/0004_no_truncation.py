"""The audit history of trust anchors cannot be emptied, like every other."""

from django.db import migrations

TABLES = (
    "trustanchors_historicaltrustanchor",
    "trustanchors_historicaltrustanchorbundle",
    "trustanchors_historicalbundlerollout",
    "trustanchors_historicalbundleinstallation",
)


class Migration(migrations.Migration):
    dependencies = [("trustanchors", "0003_retries"), ("inventory", "0008_no_truncation")]
    operations = [
        migrations.RunSQL(
            f"CREATE TRIGGER no_truncation BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION inventory_no_truncation();",
            f"DROP TRIGGER no_truncation ON {table};",
        )
        for table in TABLES
    ]

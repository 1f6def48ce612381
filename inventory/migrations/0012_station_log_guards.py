"""The audit history of station logs and artifacts is append-only, like every other."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("inventory", "0011_station_logs")]
    operations = [
        migrations.RunSQL(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION inventory_append_only(); "
            f"CREATE TRIGGER no_truncation BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION inventory_no_truncation();",
            f"DROP TRIGGER append_only ON {table}; DROP TRIGGER no_truncation ON {table};",
        )
        for table in ("inventory_historicalartifact", "inventory_historicalstationlog")
    ]

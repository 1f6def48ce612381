"""What is append-only cannot be emptied either: TRUNCATE asks no trigger of a row.

The table's owner can always drop a trigger; this is against mistakes and against statements that slip in, as the
triggers of rows are. Where a whole database is made empty on purpose, as between tests, the transaction says so first
with SET LOCAL.
"""

from importlib import import_module

from django.db import migrations

FUNCTION = """
CREATE FUNCTION inventory_no_truncation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('bfcerts.truncation', true) IS DISTINCT FROM 'allowed' THEN
        RAISE EXCEPTION 'table % is append-only; it is not emptied', TG_TABLE_NAME USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
"""
TABLES = (
    "inventory_certificaterecord",
    *import_module("inventory.migrations.0002_guards").APPEND_ONLY_TABLES,
)


class Migration(migrations.Migration):
    dependencies = [("inventory", "0007_indexes_of_filters")]
    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION inventory_no_truncation();"),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER no_truncation BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION inventory_no_truncation();",
                f"DROP TRIGGER no_truncation ON {table};",
            )
            for table in TABLES
        ),
    ]

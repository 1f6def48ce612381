"""The audit history of AuthorizationKeys cannot be emptied, like every other."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("migration", "0002_guards"), ("inventory", "0008_no_truncation")]
    operations = [
        migrations.RunSQL(
            "CREATE TRIGGER no_truncation BEFORE TRUNCATE ON migration_historicalauthorizationkey "
            "FOR EACH STATEMENT EXECUTE FUNCTION inventory_no_truncation();",
            "DROP TRIGGER no_truncation ON migration_historicalauthorizationkey;",
        ),
    ]

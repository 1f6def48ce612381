"""The audit history of AuthorizationKeys is append-only, like every other."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("migration", "0001_initial"), ("inventory", "0002_guards")]
    operations = [
        migrations.RunSQL(
            "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON migration_historicalauthorizationkey "
            "FOR EACH ROW EXECUTE FUNCTION inventory_append_only();",
            "DROP TRIGGER append_only ON migration_historicalauthorizationkey;",
        ),
    ]
